"""Pages as a reader's browser shows them, in headless Chromium at the width of a desk and of a phone.

    python docs/browse.py site                              # the documentation
    python docs/browse.py runs/mine/report.html predictions # a report; a folder of pages or of pictures
    python docs/browse.py site --shots shots                # and a picture of each page

A page must load without console errors, failed requests or requests to other servers; its links must lead
somewhere, its images must show something, a slice viewer must obey, and no page may be wider than the screen. Links to other servers are
counted, not followed. The browser is the system's (Debian: chromium); playwright drives it and brings none.
"""
import argparse
import shutil
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, unquote, urldefrag, urlsplit

from playwright.sync_api import Error, sync_playwright

WIDTHS = dict(desk=(1280, 900), phone=(390, 844))  # px
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'
LOOK = '''async () => {
    const blank = async img => {
        img.loading = 'eager'
        try { await img.decode() } catch { return `${img.src.slice(0, 80)} does not load` }
        const canvas = Object.assign(document.createElement('canvas'), {width: 64, height: 64}), draw = canvas.getContext('2d')
        draw.drawImage(img, 0, 0, 64, 64)
        const all = new Uint32Array(draw.getImageData(0, 0, 64, 64).data.buffer)
        return all.every(v => v === all[0]) ? `${img.src.slice(0, 80)} is blank` : null
    }
    return {images: document.images.length, faults: (await Promise.all([...document.images].map(blank))).filter(Boolean),
            links: [...document.querySelectorAll('a[href], area[href]')].map(a => a.href), ids: [...document.querySelectorAll('[id]')].map(e => e.id),
            width: document.documentElement.scrollWidth}
}'''


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_): pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_): pass  # a page that is closed hangs up


def serve(root):
    "An address where the files of a folder are."
    server = Server(('127.0.0.1', 0), partial(Files, directory=str(root)))
    Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}/'


def pages_of(target):
    "(root, pages): a file, or the pages of a folder, or its pictures if it holds no page."
    target = Path(target)
    if target.is_file(): return target.parent, [target]
    found = sorted(target.rglob('*.html')) or sorted(target.rglob('*.png'))
    if not found: raise SystemExit(f'{target}: neither a page nor a picture.')
    return target, found


def faults_of(page, address):
    "The list to which a page's errors, failed requests and requests to other servers are added while it loads."
    faults = []
    def route(r):
        if r.request.url.startswith((address, 'data:', 'blob:')): return r.continue_()
        faults.append(f'asks another server: {r.request.url}')
        r.abort()
    page.route('**/*', route)
    page.on('console', lambda m: m.type == 'error' and faults.append(f'console: {m.text}'))
    page.on('pageerror', lambda e: faults.append(f'error: {e}'))
    page.on('response', lambda r: r.status >= 400 and faults.append(f'{r.status}: {r.url}'))
    return faults


def viewer(page):
    "Faults of the slice viewer of a page, if there is one: the wheel, the keys, the buttons and the sliders must change the picture."
    canvas = page.query_selector('canvas')
    if not canvas: return
    picture = lambda: canvas.evaluate('c => c.toDataURL()')
    def turn(slider, share): page.locator(slider).evaluate(f'e => {{ e.value = +e.min + {share}*(e.max - e.min); e.dispatchEvent(new Event("input")) }}')
    turn('#slice', .5)
    acts = dict(wheel=lambda: (canvas.hover(), page.mouse.wheel(0, 100), page.wait_for_timeout(50)), key=lambda: canvas.press('ArrowUp'),
                slice=lambda: turn('#slice', .25), region=lambda: page.query_selector('button').click(), saliency=lambda: turn('#veil', 1), frames=lambda: page.locator('#frames').click())
    for name, act in acts.items():
        before = picture()
        act()
        if picture() == before: yield f'viewer: {name} changes nothing'


def visit(browser, address, name, size, shot):
    "(faults, what LOOK found) of one page at one size."
    page = browser.new_page(viewport=dict(width=size[0], height=size[1]))
    faults = faults_of(page, address)
    try:
        page.goto(address + quote(name), wait_until='load')
        seen = page.evaluate(LOOK)
        faults += seen['faults']
        if seen['width'] > size[0] + 1 and name.endswith('.html'): faults.append(f"{seen['width']} px wide on a screen of {size[0]}")
        faults += viewer(page)
        if shot: page.screenshot(path=shot, full_page=True, clip=dict(x=0, y=0, width=size[0], height=min(3000, page.evaluate('document.documentElement.scrollHeight'))))
    except Error as e: faults.append(str(e).splitlines()[0]); seen = dict(images=0, links=[], ids=[])
    finally: page.close()
    return faults, seen


def dead_links(root, address, seen):
    "A phrase for each link within the folder that leads nowhere."
    for name, found in seen.items():
        for link in dict.fromkeys(found['links']):
            if not link.startswith(address): continue
            url, fragment = urldefrag(link)
            path = unquote(urlsplit(url).path).lstrip('/') or 'index.html'
            if path.endswith('/'): path += 'index.html'
            if not (root/path).is_file(): yield f'{name}: link to {path}, which is not there'
            elif fragment and path in seen and unquote(fragment) not in seen[path]['ids'] and fragment != 'top': yield f'{name}: link to {path}#{fragment}, which is not there'


def search(browser, address, words='saliency'):
    "Faults of the search page of a site: it must find something."
    page = browser.new_page()
    faults = faults_of(page, address)
    page.goto(f'{address}search.html?q={words}')
    try: page.wait_for_selector('#search-results li a', timeout=10_000)
    except Error: faults.append(f'finds nothing for {words}')
    page.close()
    return [f'search: {f}' for f in faults]


def browse(browser, target, shots):
    "(pages, images, other servers' links, faults) of a file or folder."
    root, paths = pages_of(target)
    address, seen, faults = serve(root), {}, []
    for path in paths:
        name = path.relative_to(root).as_posix()
        for label, size in WIDTHS.items():
            shot = shots and shots/f"{name.replace('/', '-').rsplit('.', 1)[0]}-{label}.png"
            found, seen[name] = visit(browser, address, name, size, shot)
            faults += [f'{name} ({label}): {f}' for f in found]
    faults += dead_links(root, address, seen)
    if (root/'search.html') in paths: faults += search(browser, address)
    outside = {link for s in seen.values() for link in s['links'] if not link.startswith(address)}
    return len(paths), sum(s['images'] for s in seen.values()), len(outside), faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('targets', nargs='+', metavar='TARGET', help='page, or folder of pages or pictures')
    parser.add_argument('--shots', type=Path, metavar='DIR', help='folder for a picture of each page at each width')
    parser.add_argument('--browser', default=next(filter(None, map(shutil.which, BROWSERS)), None), metavar='FILE', help='default: the first of ' + ', '.join(BROWSERS))
    args = parser.parse_args()
    if not args.browser: parser.error('no Chromium found; install it, or name it with --browser')
    if args.shots: args.shots.mkdir(parents=True, exist_ok=True)
    failed = 0
    with sync_playwright() as p, p.chromium.launch(executable_path=args.browser, args=['--no-sandbox']) as browser:
        for target in args.targets:
            pages, images, outside, faults = browse(browser, target, args.shots)
            print('\n'.join([*faults, f"{target}: {pages} pages at {' and '.join(WIDTHS)} width, {images} images, {outside} links to other servers; {len(faults)} faults"]))
            failed += len(faults)
    return failed > 0


if __name__ == '__main__': sys.exit(main())
