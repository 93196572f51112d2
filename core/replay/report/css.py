"""The style sheet of a page: light or dark like the reader's system, and for printing."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  --paper: #fff; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --panel: #f5f7f9;
  --curve: #1f6fb2; --stop: #b3261e; --kept: #14746f; --missed: #9a6700; --cut: #6f42a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --ink: #e4e8ed; --soft: #9aa5b1; --line: #343c46; --panel: #1d232a;
    --curve: #6cb4f0; --stop: #ff8a80; --kept: #4fd1c5; --missed: #f0b429; --cut: #c4a3ff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .25rem 0; }
.small, figcaption, caption { color: var(--soft); font-size: .875rem; }
ul { padding-left: 1.2rem; }
ul.code { list-style: none; padding: 0; }
code { font: .875em/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem;
  margin: .4rem 0; overflow-x: auto; white-space: pre-wrap; }
.totals { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.totals div { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem; }
.totals dt { font-size: 1.4rem; font-weight: 600; }
.totals dd { margin: 0; color: var(--soft); font-size: .875rem; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: 600; white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
td:last-child { white-space: normal; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
figure { margin: .75rem 0; }
svg { display: block; width: 100%; height: auto; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: .75rem; }
.curves figure { margin: 0; border: 1px solid var(--line); border-radius: .4rem; padding: .5rem; }
.curves figcaption { overflow-wrap: anywhere; }
svg text { font: 10px system-ui, sans-serif; fill: var(--soft); }
svg .y, svg .end { text-anchor: end; }
svg .x { text-anchor: middle; }
svg .grid { stroke: var(--line); stroke-width: .6; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .curve { fill: none; stroke: var(--curve); stroke-width: 1.6; stroke-linejoin: round; }
svg .after { opacity: .45; stroke-dasharray: 3 2; }
svg .stop { stroke: var(--stop); stroke-width: 1.4; }
svg .stop.unsure { stroke-dasharray: 4 3; }
svg .stop-words { fill: var(--stop); font-weight: 600; }
svg .kept { fill: var(--kept); }
svg .missed { fill: var(--paper); stroke: var(--missed); stroke-width: 1.8; }
svg .cut { fill: var(--cut); }
svg .cut.unsure { fill: none; stroke: var(--cut); }
svg .policy { fill: var(--curve); opacity: .3; }
svg .frontier { fill: none; stroke: var(--curve); stroke-width: 2; }
svg .recommended { fill: var(--kept); stroke: var(--paper); stroke-width: 1.5; }
svg .advice { fill: var(--ink); font: 600 12px system-ui, sans-serif; }
svg .advice, svg .stop-words { paint-order: stroke; stroke: var(--paper); stroke-width: 3; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .875rem; }
.legend li::before { content: ""; display: inline-block; width: .65rem; height: .65rem; margin-right: .4rem;
  border-radius: 50%; }
.legend .kept::before { background: var(--kept); }
.legend .missed::before { border: 2px solid var(--missed); }
.legend .stop::before { background: var(--stop); width: 2px; border-radius: 0; height: .9rem; vertical-align: -2px; }
.legend .cut::before { border-radius: 0; clip-path: polygon(0 0, 100% 0, 50% 100%); background: var(--cut); }
@media print {
  :root {
    --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --panel: #fff;
    --curve: #1f6fb2; --stop: #b3261e; --kept: #14746f; --missed: #9a6700; --cut: #6f42a8;
  }
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  table { font-size: 8.5pt; }
  .curves { grid-template-columns: repeat(2, 1fr); }
  figure, pre, tr, .totals { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  * { print-color-adjust: exact; }
}
"""
