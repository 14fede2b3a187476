/** The connection as it is shown: its state, how long the server takes to answer, the transport. */
import { setLine } from "./line.js";

/** How often the server is asked, in milliseconds. */
const EVERY = 2000;
/** How many round trips the curve has. */
const KEPT = 30;
/** The curve is at least so many milliseconds high, so that what is always fast looks calm. */
const CALM = 10;

const find = (id) => document.getElementById(id);

/** Shows how `client` is connected; `say` tells people what happens. */
export function showConnection(client, say) {
  client.status.subscribe((status) => {
    document.body.dataset.state = status.state;
    find("state").textContent = described(status);
    if (status.state !== "connected") find("round-trip").textContent = "–";
    for (const radio of transports()) {
      radio.disabled = status.state !== "connected";
      radio.checked = radio.value === status.transport;
    }
  });
  for (const radio of transports()) radio.addEventListener("change", () => switchTo(client, radio.value, say));
  find("line").addEventListener("change", ({ target }) => {
    setLine(target.checked);
    say(target.checked ? "The network is back" : "The network is off: what you do is sent later");
  });
  measure(client);
}

const transports = () => document.querySelectorAll("[name=transport]");

function described(status) {
  switch (status.state) {
    case "connected":
      return "Connected";
    case "connecting":
      return "Connecting";
    case "reconnecting":
      return find("line").checked ? "Reconnecting" : "Offline";
    default:
      return `Closed: ${status.reason}`;
  }
}

async function switchTo(client, transport, say) {
  try {
    say(`Now over ${(await client.switchTransport(transport)) === "ws" ? "ws" : "Socket.IO"}`);
  } catch (error) {
    say(`The transport stays: ${error.message}`);
    for (const radio of transports()) radio.checked = radio.value === client.status.get().transport;
  }
}

function measure(client) {
  const trips = [];
  const ask = async () => {
    if (document.hidden || client.status.get().state !== "connected") return;
    const begun = performance.now();
    try {
      await client.request("demo.echo", null);
    } catch {
      return; // The connection ended meanwhile: that is shown already.
    }
    trips.push(performance.now() - begun);
    if (trips.length > KEPT) trips.shift();
    draw(trips);
  };
  setInterval(ask, EVERY);
  client.status.subscribe(({ state }) => state === "connected" && setTimeout(ask, 100));
}

function draw(trips) {
  const last = trips.at(-1);
  find("round-trip").textContent = last < 10 ? last.toFixed(1) : Math.round(last);
  const most = Math.max(...trips, CALM);
  const points = trips.map((trip, n) => `${(n + KEPT - trips.length) * (72 / (KEPT - 1))},${18 - (trip / most) * 15}`);
  find("curve").firstElementChild.setAttribute("points", points.join(" "));
}
