"""How a request about a clip is served: a place, its form, the threads; let go when the client leaves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from starlette.requests import Request

from ...errors import MMFairseqError
from ..clips import Inputs
from .asked import FIELDS, Asked, asked, refusal
from .jobs import Jobs
from .limits import Limits, Refused
from .uploads import Form, Uploads
from .work import Ask, SharedModel, Workers

logger = logging.getLogger(__name__)
Then = Callable[[Form], Callable[[SharedModel, Inputs], Any]]


class Office:
    """All that the routes share.

    Args:
        model: that answers.
        limits: of the server.
        folder: private, for files.
    """

    def __init__(self, model: SharedModel, limits: Limits, folder: Path) -> None:
        self.model, self.limits = model, limits
        self.uploads = Uploads(folder, limits)
        self.workers = Workers(model, limits)
        self.jobs = Jobs(model, limits, self.uploads)
        self.under_way = 0

    async def close(self) -> None:
        """End the threads and their processes."""
        await self.jobs.close()
        await asyncio.to_thread(self.workers.close)
        self.model.close()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places in the queue.

        Raises:
            Refused: there is none.
        """
        if self.under_way >= self.limits.queue:
            told = f"{self.under_way} requests are under way, as many as are taken; try again soon"
            raise Refused(429, "busy", told, again=5)
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def answer(
        self,
        request: Request,
        then: Then | None = None,
        after: Callable[[Any], Any] | None = None,
        fields: Collection[str] = tuple(FIELDS),
    ) -> tuple[Form, Any]:
        """Read a form and answer for its clip.

        Args:
            request: with the form.
            then: makes, of a form, what is asked of the model; an `Answer` where None.
            after: what is made, in another thread, of what the model said.
            fields: of the form.

        Returns:
            The form, whose files are gone, and what the model said, or what was made of it.

        Raises:
            Refused: why there is no answer.
        """
        async with self.received(request, dict.fromkeys(fields, 0)) as form:
            what = asked(form, self.limits, self.model.modalities)
            found = await self._waited(request, form, what, then)
            return form, await asyncio.to_thread(after, found) if after else found

    @asynccontextmanager
    async def received(self, request: Request, fields: dict[str, int]) -> AsyncIterator[Form]:
        """A place, and the form of a request, which has a block's time until it must be answered.

        Raises:
            Refused: see `Uploads.form`; busy; slow_upload or timeout, also inside the block.
        """
        came, seconds = False, self.limits.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                with self.place():
                    async with self.uploads.form(request, fields) as form:
                        came = True
                        yield form
        except TimeoutError:
            if not came:
                raise Refused(408, "slow_upload", f"the form was not there after {seconds:g} s") from None
            told = f"no answer after {seconds:g} s, {self.under_way} other requests are under way; try again later"
            raise Refused(503, "timeout", told, again=10) from None

    async def _waited(self, request: Request, form: Form, what: Asked, then: Then | None) -> Any:
        ask = Ask(what.clip, what.without, what.top_k, then(form) if then else None)
        done = asyncio.wrap_future(self.workers.submit(ask))
        gone = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise Refused(499, "left", "the client has left")
            return done.result()
        except MMFairseqError as error:
            raise self.refusal(error, form) from error
        except OSError as error:
            logger.warning("the machine is at fault: %s", error.strerror)
            raise Refused(503, "machine", "the machine cannot read files now; try again later", again=30) from error
        finally:
            done.cancel()
            gone.cancel()

    def refusal(self, error: MMFairseqError, form: Form) -> Refused:
        """How a clip that cannot be answered is told."""
        refused = refusal(error, form, self.limits.seconds)
        refused.message = self.model.told(refused.message)
        return refused


async def _left(request: Request) -> None:
    """Wait until the client has left; its form was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
