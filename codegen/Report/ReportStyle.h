#ifndef MOE_CODEGEN_REPORT_REPORTSTYLE_H
#define MOE_CODEGEN_REPORT_REPORTSTYLE_H

namespace moe {
/// The style sheet of the report: system fonts, light and dark.
inline constexpr char reportStyle[] = R"css(
:root{--ink:#1d2433;--soft:#667085;--line:#e4e7ec;--page:#f7f8fa;--card:#fff;--accent:#3b6fd8;--warm:#c2571a}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2c3442;--page:#12161d;--card:#1a202a;--accent:#7aa2f7;--warm:#f0a06a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1240px;margin:0 auto;padding:32px 24px 48px}
h1{font-size:28px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 10px}
.note{color:var(--soft);font-size:13px;margin:0 0 12px}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin-top:18px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.title{color:var(--soft);font-size:13px}.big{font-size:24px;font-weight:650;margin:2px 0}.card .note{margin:0}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
.scroll table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.scroll th,.scroll td{text-align:left;padding:8px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
.scroll tr:last-child td{border-bottom:0}.scroll th{color:var(--soft);font-weight:500;font-size:13px}
.heat{display:flex;flex-wrap:wrap;gap:20px}
.map{border-collapse:separate;border-spacing:2px;font:11px system-ui,sans-serif;font-variant-numeric:tabular-nums;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:8px}
.map caption{text-align:left;font-size:13px;font-weight:600;padding:4px 2px}
.map th{color:var(--soft);font-weight:400;padding:1px 5px;text-align:right}
.map td{color:#1d2433;text-align:center;border-radius:3px;padding:3px 0;min-width:27px}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 12px}
figcaption{font-size:13px;font-weight:600;margin-bottom:6px}
figure img{display:block;width:220px;height:220px;image-rendering:pixelated;border-radius:4px}
figure .note{margin:6px 0 0;max-width:220px}figure svg{display:block}
.mark{fill:var(--accent)}.rest{fill:var(--soft);opacity:.45}.hollow{fill:var(--card);stroke:var(--accent);stroke-width:1.5}
.ring{fill:none;stroke:var(--warm);stroke-width:2}.stem{stroke:var(--warm);stroke-width:2}.drop{fill:var(--warm)}.axis{stroke:var(--line)}.path{fill:none;stroke:var(--accent);stroke-opacity:.45}
.chart{width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-variant-numeric:tabular-nums}
.chart text{fill:var(--ink)}.chart .faint{fill:var(--soft)}.chart .strong{font-weight:650}.chart .warm{fill:var(--warm);font-weight:650}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),588px));gap:16px;margin-bottom:14px}
.scroll .name{white-space:normal;overflow-wrap:anywhere;min-width:480px}.scroll .step{white-space:normal;overflow-wrap:anywhere;min-width:170px}.below{margin-top:10px}details{margin-top:12px}summary{color:var(--soft);font-size:13px;cursor:pointer;margin-bottom:8px}.even{stroke:var(--soft);stroke-dasharray:4 3}
.plot h3{font-size:14px;font-weight:600;margin:18px 0 8px}.plot .note{margin-top:8px}.fit{margin-right:18px}
.bars{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.bar{display:grid;grid-template-columns:170px 1fr 150px;gap:12px;align-items:center;padding:3px 0}
.label{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.track{background:var(--line);border-radius:5px;height:12px}.fill{display:block;background:var(--accent);height:12px;border-radius:5px}
.value{color:var(--soft);font-size:13px;text-align:right;font-variant-numeric:tabular-nums}
footer{color:var(--soft);font-size:12px;margin-top:36px}
)css";
} // namespace moe

#endif // MOE_CODEGEN_REPORT_REPORTSTYLE_H
