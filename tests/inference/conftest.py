"""Small models of two systems, and a browser."""

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


@pytest.fixture
def heard(small_models):
    """Reads sound and words."""
    return small_models.model("wave_text")


@pytest.fixture
def seen(small_models):
    """Reads sound and pictures, 2.5 a second, of 32 pixels."""
    return small_models.model("perceiver_emo")
