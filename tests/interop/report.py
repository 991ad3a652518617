"""A report in Chromium: no script error, no request to anywhere, the run's numbers in its plots.

Needs PyQt6-WebEngine (Chromium) from PyPI. Usage:

    python tests/interop/report.py REPORT.html RUN [SHOTS]

REPORT.html is of the one run in the folder RUN. With SHOTS, screenshots go to that folder: wide
and narrow, light and dark.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

JS = """(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const lines = [...document.querySelectorAll('polyline')].map(p => ({
    chart: p.closest('figure').id, name: p.dataset.name, last: +p.dataset.last,
    points: p.getAttribute('points').split(' ').length }));
  const circle = document.querySelector('.points circle');
  let tip = null;
  if (circle) {
    circle.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));
    const box = document.querySelector('.tip');
    tip = { hidden: box.hidden, picture: box.querySelector('img').src.slice(0, 22) };
    document.querySelector('.plane').dispatchEvent(new PointerEvent('pointerleave'));
  }
  const bars = [...document.querySelectorAll('[data-share]')].map(b => +b.dataset.share);
  const places = () => [...document.querySelectorAll('.points circle')].map(c => c.getAttribute('cx')).join();
  const press = by => (document.querySelector(`button[data-by=${by}]`) || { click() {} }).click();
  const pca = places(); press('tsne'); const tsne = places(); press('pca'); const back = places();
  const plane = { button: !!document.querySelector('button[data-by=tsne]'), moved: pca !== tsne, back: pca === back };
  const images = [...document.images].filter(i => i.src && !i.closest('.tip')).map(i => i.naturalWidth);
  return JSON.stringify({ data, lines, tip, bars, plane, images, circles: document.querySelectorAll('circle').length,
    wide: document.documentElement.scrollWidth, window: window.innerWidth });
})()"""


def look(page, width, scheme, shot):
    """In a process of its own, since the colour scheme is Chromium's."""
    code = subprocess.run([sys.executable, __file__, "--look", page, str(width), scheme, shot or ""],
                          capture_output=True, text=True, timeout=180)
    if code.returncode != 0:
        raise SystemExit(code.stdout + code.stderr)
    return json.loads(code.stdout.strip().splitlines()[-1])


def looked(page, width, scheme, shot):
    os.environ["QTWEBENGINE_DISABLE_SANDBOX"] = "1"
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = (
        f"--disable-gpu --no-sandbox --blink-settings=preferredColorScheme={int(scheme == 'light')}")
    from PyQt6.QtCore import QTimer, QUrl
    from PyQt6.QtWebEngineCore import QWebEnginePage, QWebEngineProfile, QWebEngineUrlRequestInterceptor
    from PyQt6.QtWebEngineWidgets import QWebEngineView
    from PyQt6.QtWidgets import QApplication

    app = QApplication(sys.argv[:1])
    requests, errors = [], []

    class Interceptor(QWebEngineUrlRequestInterceptor):
        def interceptRequest(self, info):
            url = info.requestUrl().toString()
            if not url.startswith("data:"):
                requests.append(url[:200])

    class Page(QWebEnginePage):
        def javaScriptConsoleMessage(self, level, message, line, source):
            errors.append(f"{message} ({source[:80]}:{line})")

    profile = QWebEngineProfile()
    interceptor = Interceptor()
    profile.setUrlRequestInterceptor(interceptor)
    view = QWebEngineView()
    view.setPage(Page(profile, view))
    view.resize(width, 900)
    view.show()
    state = {}

    def finish():
        if shot:
            view.grab().save(shot)
        print(json.dumps({"requests": requests, "errors": errors, "page": state.get("page")}))
        sys.stdout.flush()
        os._exit(0)

    def answered(text):
        state["page"] = json.loads(text)
        if shot:
            view.page().runJavaScript("document.body.scrollHeight", grown)
        else:
            finish()

    def grown(height):
        view.resize(width, min(int(height) + 10, 9000))
        QTimer.singleShot(2500, finish)

    view.loadFinished.connect(lambda _: QTimer.singleShot(800, lambda: view.page().runJavaScript(JS, answered)))
    view.load(QUrl.fromLocalFile(os.path.abspath(page)))
    QTimer.singleShot(120000, lambda: os._exit(3))
    app.exec()


def main():
    page, run = sys.argv[1], Path(sys.argv[2])
    shots = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    n = 0

    def check(ok, what):
        nonlocal n
        n += 1
        if not ok:
            raise SystemExit(f"FAILED: {what}")

    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for width in (1200, 390):
        for scheme in ("light", "dark"):
            shot = str(shots / f"report-{width}-{scheme}.png") if shots else None
            seen = look(page, width, scheme, shot)
            what = f"{width} {scheme}"
            check(seen["errors"] == [], f"{what}: {seen['errors']}")
            check(all(url.startswith("file:") and "report" in url or url == "data:," or url.endswith(Path(page).name)
                      for url in seen["requests"]), f"{what}: requests {seen['requests']}")
            check(len(seen["requests"]) == 1, f"{what}: requests {seen['requests']}")
            inside = seen["page"]
            check(inside["wide"] <= inside["window"], f"{what}: {inside['wide']} pixels wide")
            check(all(width > 0 for width in inside["images"]), f"{what}: a picture that is none")
            by_chart = {(line["chart"], line["name"]): line for line in inside["lines"]}
            for key, chart in (("loss", "loss"), ("z_std", "z_std"), ("lr", "lr"), ("tau", "tau"),
                               ("cosine", "cosine"), ("rank", "rank")):
                values = [(row["step"], row[key]) for row in rows if key in row]
                if not values:
                    continue
                line = by_chart[(f"chart-{chart}", key)]
                check(line["last"] == values[-1][1], f"{what}: {key} ends at {line['last']}, not {values[-1][1]}")
                check(1 < line["points"] or len(values) == 1, f"{what}: {key} has {line['points']} points")
                series = next(s for s in inside["data"]["curves"][chart] if s["name"] == key)
                mean = sum(y for _, y in values) / len(values)
                drawn = [y for _, y in series["points"]]
                check(min(y for _, y in values) - 1e-9 <= min(drawn) and max(drawn) <= max(y for _, y in values) + 1e-9,
                      f"{what}: {key} leaves its range")
                check(abs(sum(drawn) / len(drawn) - mean) < 0.1 * (max(drawn) - min(drawn)) + 1e-9,
                      f"{what}: {key} has another mean")
            scores = sorted((run / "scores").glob("*.json")) if (run / "scores").exists() else []
            for path in scores:
                score = json.loads(path.read_text())
                if path.stem == "transfer":
                    for result in score["results"]:
                        check(result["score"] in inside["bars"], f"{what}: transfer without {result['set']}")
                    continue
                for result in score["results"] if path.stem == "finetune" else [score]:
                    check(result["top1"] in inside["bars"], f"{what}: {path.name} is not drawn")
                    for beside in ("random_init", "linear"):
                        if beside in result:
                            check(result[beside]["top1"] in inside["bars"], f"{what}: {path.name} without {beside}")
            if inside["plane"]["button"]:
                check(inside["plane"]["moved"] and inside["plane"]["back"], f"{what}: {inside['plane']}")
            if inside["circles"]:
                check(inside["tip"] == {"hidden": False, "picture": "data:image/png;base64,"}, f"{what}: {inside['tip']}")
    print(f"{n} checks passed")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--look"]:
        looked(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
    else:
        main()
