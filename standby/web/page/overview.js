// The overview: how things stand now, and over time.
import {$, el, text, pairs, num, count, round, bytes, span, date, announce} from './dom.js';
import {Chart} from './chart.js';

const short = (v) => v >= 1e6 ? round(v / 1e6) + 'M' : v >= 1e4 ? round(v / 1e3) + 'k' : round(v);
const millis = (v) => v >= 1000 ? span(v / 1000) : round(v) + ' ms';

let charts = [], parts = '', past = null;

// draw makes the charts of what runs in this process.
function draw(st, tap) {
  const now = (st ? 'image ' : '') + (tap ? 'tap' : '');
  if (now === parts) return;
  parts = now;
  const rates = [];
  if (st) rates.push({name: 'applied', key: 'applied_per_second', format: round, axis: short, least: 10});
  if (tap) rates.push({name: 'received', key: 'received_per_second', format: round, axis: short, least: 10});
  charts = [
    new Chart('Lag', [{name: 'entries not ' + (st ? 'applied' : 'published'), key: 'lag_entries', format: num, axis: short, least: 10}]),
    new Chart('Entries per second', rates)];
  if (st) {
    charts.push(new Chart('Receipt to readable', [
      {name: 'median', key: 'p50_ms', format: millis, axis: (v) => v >= 1000 ? short(v / 1000) + ' s' : short(v) + ' ms', least: 1},
      {name: '99%', key: 'p99_ms', format: millis, axis: short}]));
  }
  $('charts').replaceChildren(...charts.map((c) => c.node));
  if (past) showHistory(past);
}

export function showHistory(h) {
  past = h;
  for (const c of charts) c.show(h);
}

// judge says in words how a process does.
export function judge(s) {
  const st = s.standby, tap = s.tap;
  if (!st) {
    if (!tap) return ['none', 'Unknown', ''];
    if (tap.error) return ['bad', 'Trouble', tap.error];
    if (!s.ready) return ['warn', 'Not publishing', s.reason ?? ''];
    return ['ok', 'Publishing', 'Entries of the primary go to the stream. Standbys elsewhere apply them.'];
  }
  switch (st.state) {
    case 'in sync':
      if (tap?.error) return ['warn', 'In sync', 'All of the stream is applied, but the tap reports: ' + tap.error];
      return ['ok', 'In sync', 'Every entry of the stream is in the image.'];
    case 'leading': return ['ok', 'Leading', 'This standby was promoted: it accepts writes.'];
    case 'catching up': return ['warn', 'Catching up', num(st.lag_entries) + ' entries of the stream are not applied yet.'];
    case 'loading': return ['warn', 'Loading', 'A base image is being loaded.'];
    case 'waiting': return ['warn', 'Waiting', st.error || 'There is no stream with a base image yet.'];
    case 'stopped': return ['bad', 'Stopped', 'Replication needs a person: ' + st.error];
  }
  return ['none', st.state, st.error ?? ''];
}

let before = '';

export function show(s) {
  const [tone, word, why] = judge(s);
  const st = s.standby, tap = s.tap;
  $('state').dataset.tone = $('hero').dataset.tone = tone;
  text($('state'), word);
  text($('hero-state'), word);
  text($('hero-why'), why);
  text($('who'), s.role + (st?.metaid || tap?.metaid ? ' · cluster ' + (st?.metaid || tap?.metaid) : ''));
  document.title = word + ' · mfsstandby';
  if (before && before !== word) announce('State: ' + word + '. ' + why);
  before = word;
  tiles(s);
  flow(s);
  draw(st, tap);
  $('columns').hidden = !st;
  $('metadata-panel').hidden = !s.metadata;
  document.querySelector('[data-view="browse"]').hidden = !st;
  if (st) members(st.members ?? [], Date.parse(s.time));
  if (s.metadata) metadata(s.metadata);
  pairs($('process'), [
    ['In the cluster', s.cluster_role && s.cluster_role.role + (s.cluster_role.reason ? ' (' + s.cluster_role.reason + ')' : '')],
    ['Role', s.role + ', process ' + s.pid], ['Program', s.program], ['Data', s.data],
    ['Started', date(Date.parse(s.started))], ['Source', tap?.source], ['Spool', tap && bytes(tap.spool_bytes)],
    ['Cache', st && bytes(st.cache_bytes) + ', not committed yet ' + bytes(st.dirty_bytes)],
    ['Clients', s.clients && `${count(s.clients.sessions, 'session', 'sessions')}, ${count(s.clients.connections, 'connection', 'connections')}`],
    ['Metaloggers', s.upstream && metaloggers(s.upstream, Date.parse(s.time))],
    ['Rehearsal', s.rehearsal && date(Date.parse(s.rehearsal.time)) + ': ' + (s.rehearsal.error ? 'failed: ' + s.rehearsal.error :
      s.rehearsal.differences ? num(s.rehearsal.differences) + ' differences at version ' + num(s.rehearsal.version) :
      'a stock master had the same metadata at version ' + num(s.rehearsal.version))],
    ['Digest', st && st.digest && st.committed_version ? el('span', {}, el('span', {class: 'mono'}, st.digest), ' at version ' + num(st.committed_version)) : null],
  ]);
}

function tiles(s) {
  const st = s.standby, tap = s.tap, now = Date.parse(s.time);
  const list = [];
  if (st) {
    list.push(['Lag', num(st.lag_entries), (st.lag_entries === 1 ? 'entry, ' : 'entries, ') + span(st.lag_seconds)],
      ['Applied', round(st.entries_per_second), 'entries/s']);
    if (st.latency?.batches) list.push(['Readable after', millis(st.latency.p50_ms), '99% within ' + millis(st.latency.p99_ms)]);
  } else if (tap) {
    list.push(['Not published', num(Math.max(0, tap.received_version - tap.published_version)), 'entries'], ['Received', num(tap.entries_received), 'entries']);
  }
  list.push(['Epoch', num((st ?? tap)?.epoch ?? 0), ''], ['Running for', span((now - Date.parse(s.started)) / 1000), '']);
  const box = $('tiles');
  if (box.children.length !== list.length) {
    box.replaceChildren(...list.map(() => el('div', {}, el('dt'), el('dd', {}, el('span'), el('small')))));
  }
  list.forEach(([name, value, more], i) => {
    const tile = box.children[i];
    text(tile.querySelector('dt'), name);
    text(tile.querySelector('span'), value);
    text(tile.querySelector('small'), more);
  });
}

// flow shows the way of an entry, and where entries wait.
function flow(s) {
  const st = s.standby, tap = s.tap, now = Date.parse(s.time), list = [];
  const heard = tap && Date.parse(tap.heard) > 0 ? 'heard ' + span((now - Date.parse(tap.heard)) / 1000) + ' ago' : '';
  const link = tap?.following ? 'following' : tap?.connected ? 'connected' : '';
  if (s.primary_version) {
    list.push(['Primary' + (tap?.release ? ' ' + tap.release : ''), s.primary_version, [link, heard].filter(Boolean).join(', ') || 'as its tap tells', tap?.source]);
  }
  const stream = Math.max(tap?.published_version ?? 0, st?.stream_version ?? 0);
  if (stream) list.push(['Stream', stream, 'epoch ' + (st ?? tap).epoch]);
  if (st?.image_version) {
    list.push(['Image', st.image_version, st.state], ['On disk', st.committed_version, num(st.commits) + ' commits']);
  }
  const box = $('flow');
  box.hidden = list.length === 0;
  if (box.children.length !== list.length) {
    box.replaceChildren(...list.map(() => el('li', {}, el('div', {class: 'what'}), el('div', {class: 'version'}), el('div', {class: 'more'}), el('div', {class: 'gap'}))));
  }
  list.forEach(([what, version, more, hint], i) => {
    const [w, v, m, gap] = box.children[i].children;
    text(w, what);
    text(v, num(version));
    text(m, more);
    m.title = hint ?? '';
    const behind = i ? Math.max(0, list[i - 1][1] - version) : 0;
    text(gap, behind ? '−' + short(behind) : '');
    gap.title = behind ? num(behind) + ' entries' : '';
  });
}

// metaloggers tells who follows this process as a master, and of the files kept for them.
function metaloggers(u, now) {
  const line = (text, title) => el('div', {title}, text);
  const saved = u.saved.version ? `metadata.mfs.back of version ${num(u.saved.version)}, saved ${span((now - Date.parse(u.saved.at)) / 1000)} ago` : 'metadata.mfs.back not saved yet';
  return el('div', {},
    line(u.address ? `${num(u.metaloggers.length)} at ${u.address}` : 'not served'),
    ...u.metaloggers.map((m) => line(`${m.address}, MooseFS ${m.release}, ` + (m.fetching ? 'fetching ' + m.fetching : 'sent all before version ' + num(m.next_version)))),
    line(saved + (u.saved.error ? '; the last try failed: ' + u.saved.error : ''), u.dir),
    u.error ? line(u.error) : '');
}

function members(list, now) {
  $('members').tBodies[0].replaceChildren(...list.map((m) => {
    const age = (now - Date.parse(m.updated)) / 1000;
    const tone = m.error || m.state === 'stopped' ? 'bad' : age > 30 ? 'warn' : ['in sync', 'following', 'leading'].includes(m.state) ? 'ok' : 'none';
    return el('tr', {}, el('td', {}, m.role), el('td', {}, m.name), el('td', {}, el('span', {class: 'badge', 'data-tone': tone, title: m.error}, m.state)),
      el('td', {class: 'num'}, num(m.version)), el('td', {class: 'num'}, num(m.epoch)), el('td', {class: 'num'}, m.role === 'tap' ? '' : round(m.entries_per_second)),
      el('td', {class: 'num'}, span(age) + ' ago'));
  }));
  if (!list.length) $('members').tBodies[0].append(el('tr', {}, el('td', {colspan: 7, class: 'muted'}, 'None has told of itself yet.')));
}

function metadata(m) {
  pairs($('metadata'), [
    ['Inodes', num(m.inodes)], ['Directories', num(m.directories)], ['Files', num(m.files - m.trash - m.sustained)],
    ['Data', bytes(m.length_bytes) + ', with copies ' + bytes(m.realsize_bytes)],
    ['Trash', num(m.trash) + (m.trash ? ', ' + bytes(m.trash_bytes) : '')],
    ['Sustained', num(m.sustained) + (m.sustained ? ', ' + bytes(m.sustained_bytes) : '')],
    ['Client sessions', num(m.sessions)],
  ]);
}
