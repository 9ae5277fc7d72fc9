"""OpenAI's API over an engine: the same objects as JSON, for Python, the page and the server.

from oxillama_web.openai import OpenAI

client = OpenAI(engine)
answer = client.chat.completions.create(messages=[{"role": "user", "content": "Hello"}])
print(answer["choices"][0]["message"]["content"])
"""

from .client import OpenAI
from .errors import APIError

__all__ = ["APIError", "OpenAI"]
