// A chart of one or two lines over time, in SVG. The pointer or the arrow keys
// choose a moment, whose values stand in the legend.
import {el, svg, text, clock, announce} from './dom.js';

const left = 46, right = 8, top = 8, bottom = 20, height = 170;

export class Chart {
  // series: [{name, format, key, shape}], one or two.
  constructor(title, series) {
    this.title = title;
    this.series = series;
    this.data = null;
    this.at = -1; // the chosen moment
    this.values = series.map(() => el('b'));
    this.moment = el('span');
    this.svg = svg('svg', {'aria-hidden': 'true', focusable: 'false'});
    this.plot = el('div', {class: 'plot', tabindex: '0', role: 'img',
      onpointermove: (e) => this.point(e), onpointerleave: () => this.choose(-1), onkeydown: (e) => this.key(e), onblur: () => this.choose(-1)}, this.svg);
    this.node = el('figure', {class: 'panel chart'},
      el('figcaption', {}, el('h3', {}, title),
        el('div', {class: 'legend'}, ...series.map((s, i) => el('span', {},
          el('i', {class: i ? 'c-two dashed' : 'c-one'}), s.name + ' ', this.values[i])), this.moment)),
      this.plot);
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  show(data) {
    this.data = data;
    if (this.at >= data.time_ms.length) this.at = -1;
    this.draw();
  }

  point(e) {
    const times = this.data?.time_ms;
    if (!times?.length) return;
    const box = this.plot.getBoundingClientRect();
    const t = this.from + (e.clientX - box.left - left) / (box.width - left - right) * (this.to - this.from);
    let best = 0;
    times.forEach((x, i) => { if (Math.abs(x - t) < Math.abs(times[best] - t)) best = i; });
    this.choose(best);
  }

  key(e) {
    const n = this.data?.time_ms.length ?? 0;
    const now = this.at < 0 ? n - 1 : this.at;
    const to = {ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - 30, PageDown: now + 30, Home: 0, End: n - 1}[e.key];
    if (to === undefined || !n) { if (e.key === 'Escape') this.choose(-1); return; }
    e.preventDefault();
    this.choose(Math.max(0, Math.min(n - 1, to)));
    announce(this.describe(this.at));
  }

  choose(i) {
    if (this.at !== i) { this.at = i; this.draw(); }
  }

  describe(i) {
    return this.series.map((s) => s.name + ' ' + s.format(this.data[s.key][i])).join(', ') + ' at ' + clock(this.data.time_ms[i]);
  }

  draw() {
    const d = this.data, width = this.plot.clientWidth;
    if (!d || !width) return;
    const n = d.time_ms.length, last = this.at < 0 ? n - 1 : this.at;
    this.series.forEach((s, i) => text(this.values[i], n ? s.format(d[s.key][last]) : '–'));
    text(this.moment, this.at < 0 ? '' : 'at ' + clock(d.time_ms[this.at]));
    if (n) {
      const most = this.series.map((s) => s.name + ' now ' + s.format(d[s.key][n - 1]) + ', at most ' + s.format(Math.max(...d[s.key])));
      this.plot.setAttribute('aria-label', this.title + ': ' + most.join('; ') + '. Arrow keys choose a moment.');
    }
    this.to = n ? d.time_ms[n - 1] : Date.now();
    this.from = this.to - d.span_ms;
    const most = nice(Math.max(this.series[0].least ?? 1, ...this.series.flatMap((s) => d[s.key])));
    const x = (t) => left + (t - this.from) / (this.to - this.from) * (width - left - right);
    const y = (v) => top + (1 - v / most) * (height - top - bottom);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const v = most * share;
      parts.push(svg('line', {class: 'grid', x1: left, x2: width - right, y1: y(v), y2: y(v)}),
        svg('text', {x: left - 6, y: y(v) + 4, 'text-anchor': 'end'}, this.series[0].axis(v)));
    }
    parts.push(...this.times(x, width));
    this.series.forEach((s, i) => parts.push(...lines(d, s.key, x, y, i ? 'two' : 'one', d.step_seconds * 1000)));
    if (!n) parts.push(svg('text', {class: 'empty', x: width / 2, y: height / 2, 'text-anchor': 'middle'}, 'nothing yet'));
    if (this.at >= 0) parts.push(svg('line', {class: 'cross', x1: x(d.time_ms[this.at]), x2: x(d.time_ms[this.at]), y1: top, y2: height - bottom}));
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
  }

  // times labels the axis at whole minutes or hours.
  times(x, width) {
    const steps = [60e3, 120e3, 300e3, 600e3, 1800e3, 3600e3, 7200e3, 21600e3, 43200e3];
    const step = steps.find((s) => (this.to - this.from) / s <= Math.max(2, width / 90)) ?? 86400e3;
    const zone = new Date(this.to).getTimezoneOffset() * 60e3;
    const out = [];
    for (let t = Math.ceil((this.from - zone) / step) * step + zone; t <= this.to; t += step) {
      if (x(t) < left + 12 || x(t) > width - 18) continue;
      const label = clock(t).slice(0, 5);
      out.push(svg('text', {x: x(t), y: height - 4, 'text-anchor': 'middle'}, label));
    }
    return out;
  }
}

// lines draws one series; where samples are missing the line breaks.
function lines(d, key, x, y, name, step) {
  const runs = [];
  let run = null;
  d.time_ms.forEach((t, i) => {
    if (!run || t - d.time_ms[i - 1] > 3 * step) runs.push(run = []);
    run.push(`${x(t).toFixed(1)} ${y(d[key][i]).toFixed(1)}`);
  });
  return runs.flatMap((r) => {
    const path = 'M' + r.join('L');
    const out = [svg('path', {class: 'line ' + name, d: path + (r.length === 1 ? 'h0.1' : '')})];
    if (name === 'one') {
      const x0 = r[0].split(' ')[0], x1 = r[r.length - 1].split(' ')[0];
      out.unshift(svg('path', {class: 'area one', d: `${path}L${x1} ${y(0)}L${x0} ${y(0)}Z`}));
    }
    return out;
  });
}

// nice returns the next number that is easy to read and not below v.
function nice(v) {
  const p = 10 ** Math.floor(Math.log10(v));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((f) => f * p).find((m) => m >= v * 0.9999) ?? 10 * p;
}
