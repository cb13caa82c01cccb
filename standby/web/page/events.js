// What happened.
import {$, el, num, date, announce} from './dom.js';
import {get} from './client.js';

const weight = {DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3};
const tone = {INFO: 'none', WARN: 'warn', ERROR: 'bad'};
const word = {INFO: 'info', WARN: 'warning', ERROR: 'error'};
const keep = 1000;
let all = []; // oldest first
let least = 'INFO';

// update gets what is new, and draws if there is anything.
export async function update() {
  const after = all.length ? all[all.length - 1].seq : 0;
  const {events} = await get('events', {after});
  if (!events.length && after) return;
  all = all.concat(events).slice(-keep);
  const bad = events.filter((e) => e.level === 'ERROR');
  if (after && bad.length) announce('Error: ' + bad[bad.length - 1].text);
  draw();
}

export function start() {
  $('levels').addEventListener('change', (e) => { least = e.target.value; draw(); });
}

function row(e) {
  const ms = Date.parse(e.time);
  return el('li', {'data-tone': tone[e.level] ?? 'none'}, el('time', {datetime: e.time}, date(ms)), el('span', {class: 'level'}, word[e.level] ?? e.level.toLowerCase()),
    el('span', {class: 'part'}, e.part), el('span', {class: 'text'}, e.text + ' ', el('span', {class: 'code'}, e.code)));
}

function list(events, none) {
  if (!events.length) return el('p', {class: 'muted'}, none);
  return el('ul', {class: 'events'}, ...events.toReversed().map(row));
}

function draw() {
  $('recent').replaceChildren(list(all.slice(-6), 'Nothing happened yet.'));
  const chosen = all.filter((e) => (weight[e.level] ?? 1) >= weight[least]);
  $('all-events').replaceChildren(list(chosen, least === 'INFO' ? 'Nothing happened yet.' : 'None of the ' + num(all.length) + ' events kept.'));
  const recent = all.filter((e) => e.level === 'ERROR' && Date.now() - Date.parse(e.time) < 24 * 3600e3).length;
  $('alerts').hidden = !recent;
  $('alerts').textContent = recent ? num(recent) : '';
  $('alerts').title = recent + ' errors in the last 24 hours';
}
