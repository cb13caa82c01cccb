// The button that lets this standby lead, or end that it does. Nothing happens
// before a person has read what it means and confirmed it.
import {$, el, text, announce} from './dom.js';
import {post} from './client.js';

const limit = 120000;
let leads = false, busy = false;

// show offers what can be done in the present role.
export function show(s) {
  const role = s.cluster_role?.role;
  $('role-open').hidden = !role || role === 'candidate';
  leads = role === 'leader';
  text($('role-open'), leads ? 'Demote…' : 'Promote…');
}

export function start() {
  const dialog = $('role');
  $('role-open').addEventListener('click', () => {
    text($('h-role'), leads ? 'End that this standby leads?' : 'Let this standby take over?');
    text($('role-about'), leads
      ? 'Clients will not be able to write any more. It follows the stream again, read-only.'
      : 'It accepts writes from then on, and the old master’s writes count for nothing any more: make sure that the old master is dead, and stays so.');
    $('role-force').parentElement.hidden = leads;
    $('role-force').checked = false;
    $('role-word').value = '';
    $('role-reason').value = '';
    text($('role-word-label'), leads ? 'Type demote to confirm' : 'Type promote to confirm');
    $('role-steps').replaceChildren();
    $('role-do').disabled = true;
    dialog.showModal();
    $('role-word').focus();
  });
  $('role-word').addEventListener('input', () => { $('role-do').disabled = busy || $('role-word').value.trim().toLowerCase() !== word(); });
  $('role-cancel').addEventListener('click', () => dialog.close());
  $('role-form').addEventListener('submit', (e) => { e.preventDefault(); change().catch(() => {}); });
}

const word = () => (leads ? 'demote' : 'promote');

async function change() {
  if (busy || $('role-do').disabled) return;
  busy = true;
  $('role-do').disabled = true;
  const list = $('role-steps');
  list.replaceChildren(el('li', {}, 'Working…'));
  try {
    const answer = await post(word(), {reason: $('role-reason').value, force: !leads && $('role-force').checked}, limit);
    list.replaceChildren(...(answer.steps ?? []).map((s) => el('li', {class: s.error ? 'problem' : ''},
      `${s.name}, ${s.ms.toFixed(1)} ms: ${s.error ?? s.text}`)));
    if (!answer.error) list.append(el('li', {}, `It is ${answer.result.role.role}. ${answer.result.missing ?? ''}`));
    announce(answer.error ?? 'It is ' + answer.result.role.role);
  } catch (e) {
    list.replaceChildren(el('li', {class: 'problem'}, e.message));
  } finally {
    busy = false;
    $('role-word').value = '';
  }
}
