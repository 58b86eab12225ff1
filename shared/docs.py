"""`GET /docs`: the OpenAPI document of a service as a page to read and to try, by Swagger UI.

Its script and style come from a package, so that the page works where no content network is reached. What starts it is
a file too: no script stands in the page, and its policy lets none run.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

FILES = Path(fastapi_offline.__file__).parent / "static"
SCRIPT, STYLE, START = "swagger-ui-bundle.js", "swagger-ui.css", "start.js"

SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

# Addresses are relative, so that the page stands behind any prefix.
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{title}}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/{STYLE}">
</head>
<body>
<div id="document"></div>
<noscript>This page needs a script; the document itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/{SCRIPT}"></script>
<script src="docs/{START}"></script>
</body>
</html>
"""

STARTING = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#document",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
"""

router = APIRouter(prefix="/docs", include_in_schema=False)


def install_docs(app: FastAPI) -> None:
    """Answer `/docs`, and the files that the page asks for."""
    app.include_router(router)


@router.get("")
async def page(request: Request) -> HTMLResponse:
    """The page of this service."""
    return HTMLResponse(PAGE.format(title=escape(request.app.title)), headers=SAFE)


@router.get(f"/{START}")
async def start() -> Response:
    """What shows the document."""
    return Response(STARTING, media_type="text/javascript", headers=SAFE)


@router.get(f"/{SCRIPT}")
async def script() -> FileResponse:
    """Swagger UI."""
    return FileResponse(FILES / SCRIPT, headers=SAFE)


@router.get(f"/{STYLE}")
async def style() -> FileResponse:
    """How it looks."""
    return FileResponse(FILES / STYLE, headers=SAFE)
