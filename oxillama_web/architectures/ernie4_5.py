"""ERNIE 4.5, the dense models: Llama.

Baidu 2025, https://yiyan.baidu.com/blog/publication/ERNIE_Technical_Report.pdf.
"""

from .llama import build as build

ARCHITECTURE = "ernie4_5"
