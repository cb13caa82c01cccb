// The namespace: one directory at a time, page by page, by keyboard or mouse.
// Inodes lead from place to place, so that no name needs to be typed or sent.
import {$, el, text, pairs, num, count, bytes, date, shown, announce} from './dom.js';
import {get, ask, Problem} from './client.js';

const limit = 200;
const icons = {directory: '▸', file: '', symlink: '↪', fifo: '⋯', block: '▦', char: '▤', socket: '◌', trash: '✕', sustained: '✕'};
let dir = null;      // the page shown, as the API gave it
let current = 0;     // its chosen row
let typed = '', typedAt = 0;
let wanted = 0;      // counts requests: an answer that comes late is dropped

const body = () => $('names').tBodies[0];
const rows = () => body().rows;

// open shows a page of a directory. focus: which row to choose, and whether to
// move the keyboard there.
export async function open(params, choose = 0, focus = false) {
  const mine = ++wanted;
  const before = document.activeElement;
  $('names').setAttribute('aria-busy', 'true');
  try {
    let page = await get('list', {...params, limit});
    if (params.from && !page.entries.length && page.total) { // all names are before it
      page = await get('list', {inode: page.inode, offset: Math.max(0, page.total - limit) || undefined, limit});
      choose = page.entries.length - 1;
    }
    if (mine !== wanted) return;
    const up = dir && page.inode !== dir.inode ? dir.inode : 0;
    dir = page;
    problem('');
    draw();
    if (choose === 'from') choose = up ? page.entries.findIndex((e) => e.inode === up) : 0;
    if (choose < 0) choose = choose === -1 && !up ? page.entries.length - 1 : 0;
    const at = document.activeElement; // whoever moved on meanwhile stays there
    pick(choose, focus && (at === before || at === document.body || $('names').contains(at)));
    announce(count(page.total, 'name', 'names'));
  } catch (e) {
    if (mine !== wanted) return;
    problem(e.message);
    if (!(e instanceof Problem)) throw e;
  } finally {
    if (mine === wanted) $('names').removeAttribute('aria-busy');
  }
}

function problem(message) {
  $('browse-error').hidden = !message;
  text($('browse-error'), message);
}

// Modes as ls shows them.
function mode(e) {
  const type = {directory: 'd', symlink: 'l', fifo: 'p', block: 'b', char: 'c', socket: 's'}[e.type] ?? '-';
  const m = parseInt(e.mode, 8);
  const bit = (shift, special, letter) => {
    const p = (m >> shift) & 7;
    const x = m & special ? (p & 1 ? letter : letter.toUpperCase()) : p & 1 ? 'x' : '-';
    return (p & 4 ? 'r' : '-') + (p & 2 ? 'w' : '-') + x;
  };
  return type + bit(6, 0o4000, 's') + bit(3, 0o2000, 's') + bit(0, 0o1000, 't');
}

const size = (e) => e.type === 'directory' ? count(e.elements ?? 0, 'name', 'names') : e.type === 'file' ? bytes(e.length) : '';

function draw() {
  $('crumbs').replaceChildren(...dir.way.map((c, i) => el('li', {}, el('a', {href: '#/browse/' + c.inode, 'aria-current': i === dir.way.length - 1 ? 'page' : null},
    c.inode === 1 ? '/' : shown(c.name, !c.name_base64)))));
  $('names').setAttribute('aria-rowcount', dir.total + 1);
  body().replaceChildren(...dir.entries.map((e, i) => {
    const name = shown(e.name, !e.name_base64);
    return el('tr', {tabindex: '-1', 'aria-rowindex': dir.offset + i + 2, 'aria-selected': 'false', onclick: () => pick(i, true), ondblclick: () => enter(i)},
      el('td', {}, el('span', {class: 'kind', 'aria-hidden': 'true'}, icons[e.type] ?? ''),
        e.type === 'directory' ? el('a', {href: '#/browse/' + e.inode, tabindex: '-1'}, name) : el('span', {}, name)),
      el('td', {class: 'num'}, size(e)), el('td', {class: 'wide mono'}, e.type ? mode(e) : ''), el('td', {class: 'wide num'}, e.uid + ':' + e.gid),
      el('td', {class: 'mid'}, e.mtime ? date(e.mtime * 1000) : ''), el('td', {class: 'wide num'}, String(e.inode)));
  }));
  $('names-empty').hidden = dir.total > 0;
  const n = dir.entries.length;
  text($('position'), n ? `${num(dir.offset + 1)}–${num(dir.offset + n)} of ${num(dir.total)}` : count(dir.total, 'name', 'names'));
  for (const b of document.querySelectorAll('[data-page]')) {
    b.disabled = b.dataset.page === 'first' || b.dataset.page === 'previous' ? !dir.previous : !dir.next;
  }
  $('details').replaceChildren();
}

// turn shows another page; choose is the row to choose there.
function turn(which, choose = 0, focus = false) {
  const inode = dir.inode;
  const params = {first: {inode}, previous: dir.previous && {inode, before: dir.previous}, next: dir.next && {inode, after: dir.next},
    last: {inode, offset: Math.max(0, dir.total - limit) || undefined}}[which];
  return params ? open(params, choose, focus) : undefined;
}

// pick chooses a row and shows its details; without rows, those of the directory.
function pick(i, focus) {
  const list = rows();
  if (list[current]) { list[current].setAttribute('aria-selected', 'false'); list[current].tabIndex = -1; }
  current = Math.max(0, Math.min(list.length - 1, i));
  const row = list[current];
  if (row) {
    row.setAttribute('aria-selected', 'true');
    row.tabIndex = 0;
    if (focus) row.focus();
  } else if (focus) {
    const names = $('names');
    names.tabIndex = 0;
    names.focus();
  }
  details(dir.entries[current]?.inode ?? dir.inode, dir.entries[current]);
}

let asked = 0, timer = 0;

// details shows all about an inode, once the keys rest.
function details(inode, entry) {
  const mine = ++asked;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      const s = await get('stat', {inode});
      if (mine === asked) describe(s, entry);
    } catch (e) {
      if (mine === asked) $('details').replaceChildren(el('p', {class: 'muted'}, e.message));
    }
  }, 120);
}

function describe(s, entry) {
  const title = el('h2', {}, entry ? shown(entry.name, !entry.name_base64) : 'This directory');
  const list = el('dl', {class: 'pairs'});
  const d = s.directory, q = s.quota;
  const paths = s.paths.map((p) => el('div', {class: 'mono'}, shown(p.path, !p.path_base64)));
  pairs(list, [
    ['Type', s.type], ['Inode', s.inode], [paths.length > 1 ? 'Paths' : 'Path', paths.length ? el('div', {}, ...paths) : null],
    ['Target', s.target ? el('span', {class: 'mono'}, shown(s.target.name, !s.target.name_base64)) : null],
    ['Length', s.chunks ? `${bytes(s.length)} (${num(s.length)} bytes)` : null],
    ['Chunks', s.chunks ? num(s.chunks.used) + (s.chunks.slots > s.chunks.used ? ` and ${num(s.chunks.slots - s.chunks.used)} holes` : '') : null],
    ['Device', s.device], ['Names', d && num(d.elements)],
    ['Below', d ? count(d.below.directories, 'directory', 'directories') + ', ' + count(d.below.files, 'file', 'files') : null],
    ['Data below', d ? `${bytes(d.below.length_bytes)}, with copies ${bytes(d.below.realsize_bytes)}` : null],
    ['Mode', el('span', {class: 'mono'}, `${mode(s)} (${s.mode})`)], ['Owner', `uid ${s.uid}, gid ${s.gid}`], ['Links', s.nlink],
    ['Modified', date(s.mtime * 1000)], ['Changed', date(s.ctime * 1000)], ['Accessed', date(s.atime * 1000)],
    ['Storage class', s.storage_class], ['Trash time', s.trash_hours + ' h'], ['Attributes', s.eattr?.join(', ')],
    ['ACL', s.acl?.replaceAll(',', ', ')], ['Default ACL', s.default_acl?.replaceAll(',', ', ')],
    ['Xattrs', s.xattrs ? el('div', {}, ...s.xattrs.map((x) => el('div', {}, shown(x.name, !x.name_base64), ` (${num(x.size)} bytes)`))) : null],
    ['Quota', q ? quota(q) : null], ['Open', s.open ? 'by a client' : null],
  ]);
  $('details').replaceChildren(title, list);
}

function quota(q) {
  const parts = [];
  for (const [name, key, show] of [['inodes', 'inodes', num], ['length', 'length', bytes], ['size', 'size', bytes], ['real size', 'realsize', bytes]]) {
    const soft = q['soft_' + key], hard = q['hard_' + key];
    if (soft || hard) parts.push(name + ' ' + [soft && 'soft ' + show(soft), hard && 'hard ' + show(hard)].filter(Boolean).join(', '));
  }
  return parts.join('; ') + (q.exceeded ? '; exceeded' : '');
}

function enter(i) {
  const e = dir.entries[i];
  if (e?.type === 'directory') { following = true; location.hash = '#/browse/' + e.inode; }
}

function up() {
  const parent = dir.way[dir.way.length - 2];
  if (parent) { following = true; location.hash = '#/browse/' + parent.inode; }
}

let following = false; // the keyboard moves on into the next directory

// route is called when the address names a directory.
export function route(inode) {
  const focus = following || body().contains(document.activeElement);
  following = false;
  return open({inode}, 'from', focus);
}

function keydown(e) {
  if (!dir || e.altKey || e.metaKey) return;
  if (e.key.length > 1 && e.key !== 'Shift') typed = '';
  const last = rows().length - 1;
  const far = e.ctrlKey;
  const move = {ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15}[e.key];
  if (move && !far) {
    e.preventDefault();
    const to = current + move;
    if (to > last && current === last && dir.next) return turn('next', 0, true);
    if (to < 0 && current === 0 && dir.previous) return turn('previous', -1, true);
    return pick(Math.max(0, Math.min(last, to)), true);
  }
  switch (e.key) {
    case 'Home': e.preventDefault(); return far && dir.previous ? turn('first', 0, true) : pick(0, true);
    case 'End': e.preventDefault(); return far && dir.next ? turn('last', -1, true) : pick(last, true);
    case 'Enter': case 'ArrowRight': e.preventDefault(); return enter(current);
    case 'Backspace': case 'ArrowLeft': e.preventDefault(); return up();
  }
  if (e.key.length === 1 && !far && e.key !== ' ') { e.preventDefault(); return type(e.key); }
}

// type chooses the first name that begins with what was typed quickly, here or
// on another page.
function type(letter) {
  typed = Date.now() - typedAt < 1000 ? typed + letter : letter;
  typedAt = Date.now();
  const i = dir.entries.findIndex((e) => e.name.startsWith(typed));
  if (i >= 0) return pick(i, true);
  if (dir.next || dir.previous) return open({inode: dir.inode, from: typed}, 0, true);
}

// go shows what is at a path or an inode: a directory, or where the rest is.
async function go(where) {
  try {
    const s = await find(where.trim());
    if (s.type === 'directory') { location.hash = '#/browse/' + s.inode; return; }
    if (!s.paths.length) {
      details(s.inode, {name: s.detached?.path ?? 'inode ' + s.inode, name_base64: s.detached?.path_base64});
      problem('');
      return;
    }
    const path = s.paths.find((p) => p.path === where.trim()) ?? s.paths[0];
    history.replaceState(null, '', '#/browse/' + path.parent);
    await open({inode: path.parent, from: path.path.split('/').pop().split(/\\x/)[0]}, 0, true);
    const i = dir.entries.findIndex((e) => e.inode === s.inode);
    if (i >= 0) pick(i, true);
    problem('');
  } catch (e) {
    problem(e.message);
  }
}

// find takes a path as it is, or, if there is no such, with \xNN as the page shows it.
async function find(where) {
  if (/^\d+$/.test(where)) return get('stat', {inode: where});
  try {
    return await get('stat', {path: where});
  } catch (e) {
    if (e.status !== 404 || !/\\x[0-9a-fA-F]{2}/.test(where)) throw e;
    return ask('stat?path=' + encodeURIComponent(where).replace(/%5Cx([0-9a-fA-F]{2})/g, '%$1'));
  }
}

export function start() {
  $('names').addEventListener('keydown', keydown);
  $('goto').addEventListener('submit', (e) => { e.preventDefault(); if ($('goto-text').value.trim()) go($('goto-text').value); });
  $('seek').addEventListener('submit', (e) => { e.preventDefault(); if (dir) open({inode: dir.inode, from: $('seek-text').value}, 0, true); });
  for (const b of document.querySelectorAll('[data-page]')) b.addEventListener('click', () => turn(b.dataset.page));
}
