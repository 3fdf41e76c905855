"""The viewer behind a real reverse proxy, in a real browser."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser

from streamvis import DataLogger
from streamvis.launch import free_port
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving
from streamvis_viewer.server import WebOptions
from viewer.tests.reverse_proxy import reverse_proxy

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("forward_host", [False, True])
def test_pages_and_points_pass_a_proxy_under_a_prefix(browser: Browser, forward_host: bool) -> None:
    """From the printed link with its token to a live plot, whether the proxy passes the host on or not.

    Everything that the browser asks for lies under the prefix.
    """
    upstream = f"127.0.0.1:{free_port(0)}"
    with (
        data_serving("memory:") as data,
        reverse_proxy(upstream, forward_host) as (port, proxy),
        serving(upstream, data.uri, None, WebOptions("s3cret", "/lab/plots", (f"localhost:{port}",))) as url,
    ):
        assert url == f"http://{upstream}/lab/plots"
        with DataLogger("run1", grpc_uri=data.uri) as logger:
            logger.write("loss", x=np.arange(50), y=np.ones(50))
        page = browser.new_page()
        page.goto(f"http://localhost:{port}/lab/plots/?token=s3cret")
        page.get_by_role("link", name="run1").click()
        page.wait_for_function("document.querySelector('#counts')?.textContent.includes('50 points')")
        assert page.url == f"http://localhost:{port}/lab/plots/plot?rows=loss&scopes=%5Erun1%24"
        page.locator(".brand").click()
        assert page.url == f"http://localhost:{port}/lab/plots/"
        page.goto(f"http://localhost:{port}/lab/plots/?rows=none")
        page.get_by_role("link", name="loss").click()
        page.wait_for_function("document.querySelector('#counts')?.textContent.includes('50 points')")
        assert all(path.startswith("/lab/plots/") for path in proxy.paths)
        page.close()
