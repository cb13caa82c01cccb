// The status page: asks the API while it can be seen, and shows what it says.
import {$, text, span} from './dom.js';
import {get} from './client.js';
import * as overview from './overview.js';
import * as events from './events.js';
import * as browse from './browse.js';
import * as role from './role.js';

const spans = {'10m': 600e3, '6h': 6 * 3600e3, '48h': 48 * 3600e3};
let range = '10m';
let series = null; // the history of the range
let answered = 0;  // when the server answered last

// loop does something again and again, never twice at once, and not while
// nobody looks.
function loop(ms, work) {
  const turn = async () => {
    if (!document.hidden) {
      try {
        await work();
      } catch (e) {
        if (!(e instanceof TypeError) && e.name !== 'TimeoutError') console.warn(e);
      }
    }
    setTimeout(turn, ms);
  };
  turn();
}

async function status() {
  const s = await get('status');
  answered = Date.now();
  overview.show(s);
  role.show(s);
}

async function samples() {
  const mine = range;
  const after = series ? series.time_ms[series.time_ms.length - 2] : 0; // the last may have changed
  const h = await get('history', {range: mine, after: after ?? 0});
  if (mine !== range) return;
  series = series && after ? join(series, h) : h;
  series.span_ms = spans[range];
  overview.showHistory(series);
}

// join puts new samples behind the old ones.
function join(old, more) {
  const from = more.time_ms[0] ?? Infinity;
  let keep = old.time_ms.findIndex((t) => t >= from);
  if (keep < 0) keep = old.time_ms.length;
  const last = more.time_ms[more.time_ms.length - 1] ?? old.time_ms[old.time_ms.length - 1];
  const begin = Math.max(0, old.time_ms.findIndex((t) => t >= last - spans[range]));
  const out = {...more};
  for (const k of Object.keys(old)) if (Array.isArray(old[k])) out[k] = old[k].slice(begin, keep).concat(more[k]);
  return out;
}

// silence says when the server does not answer.
function silence() {
  const quiet = Date.now() - answered;
  const lost = answered > 0 && quiet > 5000 && !document.hidden && !$('login').open;
  $('trouble').hidden = !lost;
  $('overview').classList.toggle('stale', lost);
  if (lost) {
    text($('trouble'), 'No answer from the process for ' + span(Math.round(quiet / 1000)) + '. What is shown is old.');
    $('state').dataset.tone = 'none';
    text($('state'), 'no answer');
  }
}

function route() {
  const [, view = '', arg] = location.hash.split('/');
  const name = view === 'browse' || view === 'events' ? view : 'overview';
  for (const id of ['overview', 'browse', 'events']) $(id).hidden = id !== name;
  for (const a of document.querySelectorAll('nav [data-view]')) {
    if (a.dataset.view === name) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  if (name === 'browse') browse.route(/^\d+$/.test(arg) ? arg : 1).catch(() => {});
}

function theme() {
  const choice = $('theme');
  try { choice.value = localStorage.getItem('mfsstandby-theme') ?? 'auto'; } catch { /* none is kept */ }
  const apply = () => { document.documentElement.dataset.theme = choice.value; };
  choice.addEventListener('change', () => {
    try { localStorage.setItem('mfsstandby-theme', choice.value); } catch { /* none is kept */ }
    apply();
  });
  apply();
}

theme();
events.start();
browse.start();
role.start();
addEventListener('hashchange', route);
$('ranges').addEventListener('change', (e) => { range = e.target.value; series = null; samples().catch(() => {}); });
document.querySelector('.skip').addEventListener('click', (e) => { e.preventDefault(); $('main').focus(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) { answered = Date.now(); status().catch(() => {}); } });
route();
loop(1000, status);
loop(1000, samples);
loop(2000, events.update);
setInterval(silence, 1000);
