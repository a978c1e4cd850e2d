"""Fixtures of the tests of the page."""

import pytest


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    from browser import CHROMIUM, OPTIONS
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()
