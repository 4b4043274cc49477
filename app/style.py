"""The look of the page: theme, system fonts (nothing is fetched from elsewhere), CSS for wide and narrow screens."""

import gradio as gr

from seqgen_app.tabs.image_html import ramp

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """The theme."""
    return gr.themes.Soft(primary_hue="indigo", secondary_hue="sky", neutral_hue="slate", font=FONT, font_mono=MONO)


CSS = """
.gradio-container { max-width: min(1120px, 100vw) !important; width: 100% !important; margin: 0 auto !important; }
.gradio-container .main, .gradio-container .contain { width: 100%; }
.gradio-container, .gradio-container .main, .gradio-container .contain, .tabs { min-width: 0 !important; }
#title h1 { margin: 0.4em 0 0; }
#title p { margin: 0; color: var(--body-text-color-subdued); }
#written textarea, #columns textarea, .items { font-family: var(--font-mono); font-size: 0.92em; line-height: 1.5; }
.used { align-items: end; }
.used button { margin-bottom: 1rem; }
input[role="combobox"] { text-overflow: ellipsis; }

.numbers { display: grid; gap: 0.5rem; margin: 0.25rem 0; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); }
.numbers div { padding: 0.5rem 0.75rem; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-md); background: var(--background-fill-secondary); }
.numbers b { display: block; font-size: 1.15em; font-variant-numeric: tabular-nums; color: var(--body-text-color); }
.numbers small { color: var(--body-text-color-subdued); }

.coloured { font-family: var(--font-mono); font-size: 1.05em; line-height: 2; padding: 0.5rem 0;
  overflow-wrap: anywhere; white-space: pre-wrap; color: var(--body-text-color); }
.symbol { --full: #f97316; position: relative; border-radius: 3px; padding: 0.15em 0.06em; cursor: help;
  background: color-mix(in srgb, var(--full) calc(var(--surprise) * 85%), transparent); }
.symbol:hover, .symbol:focus { outline: 2px solid var(--color-accent); z-index: 2; }
.symbol:hover::after, .symbol:focus::after { content: attr(data-tip); position: absolute; left: 0; top: 2.1em;
  width: max-content; max-width: min(15rem, 60vw); padding: 0.35rem 0.6rem; border-radius: var(--radius-md);
  font: 0.8rem/1.4 var(--font); white-space: normal; background: #1e293b; color: #f8fafc; pointer-events: none; }
.symbol.end { font: 0.7em var(--font); padding: 0.3em 0.4em; margin-left: 0.3em; }
.legend { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; font-size: 0.85em;
  color: var(--body-text-color-subdued); }
.legend i { width: 8rem; height: 0.8rem; border-radius: 4px; border: 1px solid var(--border-color-primary);
  background: linear-gradient(to right, transparent, color-mix(in srgb, #f97316 85%, transparent)); }

.names { display: grid; gap: 0 1.5rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.names div { display: flex; justify-content: space-between; align-items: center; gap: 0.5rem; padding: 0.45rem 0.25rem;
  border-bottom: 1px solid var(--border-color-primary); color: var(--body-text-color); overflow-wrap: anywhere; }
.names b { font-weight: 500; font-size: 1.1em; }
.names .badge { white-space: nowrap; }
.names.empty { display: block; padding: 3rem 1rem; text-align: center; color: var(--body-text-color-subdued);
  border: 1px dashed var(--border-color-primary); border-radius: var(--radius-lg); }
.badge { font-size: 0.78em; padding: 0.1rem 0.55rem; border-radius: 1rem; border: 1px solid var(--border-color-primary);
  color: var(--body-text-color-subdued); }
.badge.new { background: #16a34a; border-color: #16a34a; color: #fff; }

.items { overflow-x: auto; margin: 0; padding: 0.75rem; white-space: pre; color: var(--body-text-color);
  border: 1px solid var(--border-color-primary); border-radius: var(--radius-md); }
.items.empty { padding: 3rem 1rem; text-align: center; white-space: normal; font-family: var(--font);
  color: var(--body-text-color-subdued); border-style: dashed; border-radius: var(--radius-lg); }
.symbols { overflow-x: auto; }
.items.line { white-space: pre-wrap; }
.symbols table, .symbols tr { border: none !important; }
.symbols table { font-size: 0.9em; border-collapse: collapse; color: var(--body-text-color); }
.symbols th, .symbols td { padding: 0.3em 0.8em !important; text-align: right; font-variant-numeric: tabular-nums;
  border: none !important; border-bottom: 1px solid var(--border-color-primary) !important; }
.symbols th:first-child, .symbols td:first-child { text-align: left; font-family: var(--font-mono); }

.p-value { margin: 0.25rem 0 0.75rem; font-size: 0.9em; color: var(--body-text-color-subdued); }
.canvas { display: flex; justify-content: center; }
.canvas img, .pair img { width: 100%; max-width: 32rem; image-rendering: pixelated; border-radius: var(--radius-md);
  border: 1px solid var(--border-color-primary); }
.canvas.empty { padding: 6rem 1rem; color: var(--body-text-color-subdued); border-radius: var(--radius-lg);
  border: 1px dashed var(--border-color-primary); }
#given-picture img, #scored-picture img { width: 100%; height: 100%; object-fit: contain; image-rendering: pixelated; }
.pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); }
.pair figure { margin: 0; }
.pair figcaption { font-size: 0.85em; color: var(--body-text-color-subdued); }
.legend i.ramp { background: RAMP; }

.card table, .card th, .card td { border-color: var(--border-color-primary) !important; }
.card th, .card td { font-size: 0.88em; padding: 0.3em 0.5em !important; word-break: normal; overflow-wrap: normal; }
#no-ffmpeg { font-size: 0.9em; color: var(--body-text-color-subdued); }
.card code { overflow-wrap: anywhere; white-space: pre-wrap; }
.drawn img { object-fit: contain; }
""".replace("RAMP", ramp())
