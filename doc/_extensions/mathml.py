"""Write formulas as MathML, which browsers draw by themselves.

The usual way is a script from another server, without which a page shows TeX.
The conversion is docutils' own; what it does not know is a warning, so that the
build fails.
"""

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _write(translator, node, as_block):
    try:
        html = tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logger.warning("formula: %s", error, location=node)
        html = translator.encode(node.astext())
    translator.body.append(html)


def visit_inline(translator, node):
    """Write a formula in a line."""
    _write(translator, node, as_block=False)
    raise SkipNode


def visit_block(translator, node):
    """Write a formula of its own."""
    translator.body.append('<div class="formula">')
    _write(translator, node, as_block=True)
    translator.body.append("</div>\n")
    raise SkipNode


def setup(app):
    """Add the renderer ``mathml``; html_math_renderer chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
