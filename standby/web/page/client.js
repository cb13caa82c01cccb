// Asks the API. Where a token is needed it is asked for once, and kept until
// the tab is closed.
import {$} from './dom.js';

const key = 'mfsstandby-token';
let waiting = null; // the promise of a token, while the dialog is open

export class Problem extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

// get returns the JSON at /api/v1/NAME.
export async function get(name, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== undefined && v !== ''));
  return ask(name + (query.size ? '?' + query : ''));
}

// post sends JSON to /api/v1/NAME, and returns the answer's, also that of a
// refusal. limit is how long it may take, in ms.
export async function post(name, body, limit) {
  return ask(name, {method: 'POST', body: JSON.stringify(body)}, limit);
}

// ask is get with a query that is encoded already.
export async function ask(path, request = {}, limit = 30000) {
  for (;;) {
    if (waiting) await waiting;
    const token = sessionStorage.getItem(key);
    const response = await fetch('/api/v1/' + path, {
      ...request, cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(limit),
      headers: {...(token ? {Authorization: 'Bearer ' + token} : {}), ...(request.body ? {'Content-Type': 'application/json'} : {})},
    });
    if (response.status === 401) {
      if (sessionStorage.getItem(key) === token) await login(token !== null);
      continue;
    }
    const body = await response.json();
    if (request.method === 'POST' && body.result) return body;
    if (!response.ok) throw new Problem(response.status, body.error?.code, body.error?.text ?? response.statusText);
    return body;
  }
}

function login(wrong) {
  waiting ??= new Promise((done) => {
    const dialog = $('login'), form = $('login-form'), field = $('token');
    sessionStorage.removeItem(key);
    $('login-error').hidden = !wrong;
    $('login-error').textContent = wrong ? 'That is not the token.' : '';
    field.value = '';
    dialog.oncancel = (e) => e.preventDefault(); // nothing works without
    form.onsubmit = (e) => {
      e.preventDefault();
      sessionStorage.setItem(key, field.value.trim());
      dialog.close();
      waiting = null;
      done();
    };
    dialog.showModal();
    field.focus();
  });
  return waiting;
}
