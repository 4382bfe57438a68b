// Before the login: log in, register, or come as a guest; what the server does not allow is not offered.

import {Field, Form, wrong} from "./dialog.js";
import {html, place, route, says, useChat, useEffect, useState} from "./base.js";

export function Login() {
  const {client} = useChat();
  const {server, notice, foreign} = client.state;
  const [register, setRegister] = useState(false);
  useEffect(() => {
    document.title = server?.name ?? "Chat";
  }, [server?.name]);
  const least = server?.limits?.password_least ?? 8;
  const insecure = server?.tls_required && !server.tls && !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

  const enter = async values => {
    const name = values.name.trim();
    if (!name) throw wrong("name", "Type your name.");
    if (!values.password) throw wrong("password", "Type your password.");
    if (register && values.password.length < least) throw wrong("password", `A password has at least ${least} characters.`);
    if (register && values.password !== values.again) throw wrong("again", "The two passwords differ.");
    const fields = {name, password: values.password, keep: values.keep === "on"};
    if (register) await client.register(values.code ? {...fields, code: values.code.trim()} : fields);
    else await client.login(fields);
    // Whoever is in one room has no need of an overview.
    const [only, ...others] = client.state.rooms.values();
    if (only && !others.length && !route().label) location.hash = place(only.label);
  };

  return html`
    <main class="login">
      <div class="card">
        <img src=${new URL("../icon.svg", import.meta.url).href} alt="" width="48" height="48" />
        <h1>${server?.name ?? "Chat"}</h1>
        ${notice && html`<p class="note" role="status">${notice}</p>`}
        ${foreign > 0 && html`<p class="note">Somebody else's ${foreign === 1 ? "message is" : `${foreign} messages are`} not sent yet
          on this device. They wait until that account logs in again.</p>`}
        ${insecure && html`<p class="fault" role="alert">This server takes passwords on encrypted connections only. Open the page
          with https.</p>`}
        <${Form} key=${register} button=${register ? "Create account" : "Log in"} stay=${true} onSend=${enter} disabled=${insecure}
            at=${{"bad-credentials": "password", "bad-password": "password", "bad-name": "name", "name-taken": "name",
              "closed-registration": "code"}}>
          <${Field} label="Name" name="name" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck=${false}
            maxlength=${server?.limits?.name ?? 32} data-first required
            hint=${register ? "Letters, digits, _ and -. Others see it; a display name comes later." : ""} />
          <${Field} label="Password" name="password" type="password" required
            autocomplete=${register ? "new-password" : "current-password"}
            hint=${register ? `At least ${least} characters.` : ""} />
          ${register && html`
            <${Field} label="Password again" name="again" type="password" autocomplete="new-password" required />`}
          ${register && server?.registration === "code" && html`
            <${Field} label="Registration code" name="code" autocomplete="off" required
              hint="This server is open to those who have its code." />`}
          <label class="check"><input type="checkbox" name="keep" defaultChecked=${true} /> Stay logged in on this device</label>
        </${Form}>
        <${Others} server=${server} register=${register} setRegister=${setRegister} client=${client} />
        ${server?.contact && html`<p class="hint">Forgot the password? Ask ${server.contact}</p>`}
      </div>
    </main>`;
}

function Others({server, register, setRegister, client}) {
  const [fault, setFault] = useState("");
  const guest = () => client.guest().catch(refusal => setFault(says(refusal)));
  if (!server) return null;
  return html`
    <div class="others">
      ${server.registration === "closed"
        ? html`<p class="hint">Registration is closed on this server.</p>`
        : html`<button type="button" class="link" onClick=${() => setRegister(!register)}>
            ${register ? "I have an account: log in" : "New here? Create an account"}</button>`}
      ${server.guests && !register && html`<button type="button" class="link" onClick=${guest}>Look around as a guest</button>`}
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    </div>`;
}
