"""An engine for tests: jobs that run in this process."""

from mm_fairseq.preprocessing.cluster import Outcome


class Here:
    """An engine that runs each job when it is asked for the ended ones."""

    cpus = 1

    def __init__(self, ranks, interrupt=False):
        self.ranks, self.interrupt, self.stopped, self.logs = ranks, interrupt, False, None

    def start(self, run, shares, folder):
        self.run, self.shares, self.logs = run, list(shares), folder

    def ended(self):
        if self.interrupt:
            raise KeyboardInterrupt
        share = self.shares.pop()
        return [Outcome(share.rank, self.run(share), f"{self.logs}/{share.rank}.log")]

    def stop(self):
        self.stopped = True

    def close(self):
        pass
