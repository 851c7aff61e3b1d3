"""How Sphinx makes the site. Nothing on a page comes from another server: the fonts are those of the
reader's system, formulas are drawn when the site is built, and the search runs in the page.
"""
import ziamath
from build import settings
from docutils.nodes import SkipNode

ziamath.config.svg2 = False  # no ids, which formulas of one page would share

s = settings()
project, author, copyright, release = s['title'], s['author'], s['copyright'], s['version']
extensions = ['myst_nb']
nb_execution_mode, nb_render_markdown_format, nb_ipywidgets_js = 'off', 'myst', {}
nb_render_image_options = dict(alt='what the cell above shows')
myst_enable_extensions, myst_heading_anchors = ['dollarmath', 'fieldlist', 'colon_fence'], 3
html_theme, html_title, html_static_path, html_css_files = 'furo', project, ['../build/docs/_static'], ['style.css']
html_use_index, html_domain_indices = False, False  # the search finds every name
html_math_renderer, html_copy_source, html_show_sourcelink = 'drawn', False, False
html_theme_options = dict(announcement='Research software, not a medical device.', top_of_page_buttons=[])
add_module_names, python_maximum_signature_line_length, smartquotes_action = False, 80, 'q'  # --folds keeps its hyphens


def formula(inline):
    "A visitor that draws a formula."
    def visit(self, node):
        tex = node.astext()
        drawn = ziamath.Latex(tex, size=17, color='currentColor', inline=inline)
        svg = drawn.svg().replace('<svg ', f'<svg role="img" aria-label="{self.attval(tex)}" style="vertical-align:{drawn.getyofst():.1f}px" ', 1)
        self.body.append(f'<{tag} class="math">{svg}</{tag}>')
        raise SkipNode
    tag = 'span' if inline else 'div'
    return visit, None


def setup(app): app.add_html_math_renderer('drawn', formula(True), formula(False))
