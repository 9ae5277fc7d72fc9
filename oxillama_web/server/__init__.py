"""An HTTP server with OpenAI's API, `oxillama-web serve`; needs the extra `server`."""
