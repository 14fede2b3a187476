/** Joins a client of this tab with the tabs that share its connection. Loaded by who wants that only. */
import type { Core } from "../core.js";
import { begin, binary, type Messages } from "../inside.js";
import { Door } from "./door.js";
import type { Carried, Command, Outcome, Packed } from "./messages.js";
import { Tab, type Role } from "./tab.js";
import { Connection } from "./upstream.js";

export { unavailable } from "./door.js";

export interface Sharing {
  url: string;
  /** Tabs with the same name, URL and namespace share. */
  name: string;
  /** As the module takes them. */
  settings: string;
  /** Gives the module a token. */
  token(question: number): void;
  /** Told whether the connection is this tab's, when that changes. */
  role(role: Role): void;
}

/** What a client has of sharing. */
export interface Shared {
  readonly role: Role;
  /** What the module says of the client. */
  command(command: Command): void;
  stats(): Promise<any>;
}

/** Has the client with this number carried by the connection that the tabs share. */
export function share(
  core: Core,
  number: number,
  sharing: Sharing,
  messages: Messages,
): Shared {
  begin(messages);
  const { url, name, settings, token, role } = sharing;
  core.connect_relayed(number, url, settings);
  const {
    maxEvents = 10_000,
    maxBytes = 8 << 20,
    publishTimeout = 60_000,
    namespace = "/",
  } = JSON.parse(settings);
  const door = new Door(JSON.stringify([url, namespace, name]));
  const tab = new Tab(door, {
    connect: (status) => new Connection(core, { url, settings, token, status }),
    carried: carried(core, number),
    role,
    maxEvents,
    maxBytes,
    publishTimeout,
  });
  return {
    get role() {
      return tab.role;
    },
    command: (command) => tab.command(unpacked(command)),
    stats: () => tab.stats(),
  };
}

/** The command with its bytes, for whose place the module has given a number. */
function unpacked(command: Command): Command {
  const bytes = (payload: unknown) => (typeof payload === "number" ? binary(payload) : payload);
  if (command.do === "publish" || command.do === "request") {
    return { ...command, payload: bytes(command.payload) as Packed };
  }
  if (command.do === "respond" && "value" in command.outcome) {
    return { ...command, outcome: { value: bytes(command.outcome.value) as Packed } };
  }
  return command;
}

/** The client of this tab, as the module has it. */
function carried(core: Core, number: number): Carried {
  const notice = (notice: object) => core.notice(number, JSON.stringify(notice));
  const packed = (notice: object, payload: Packed) => {
    if (typeof payload !== "string") return core.notice(number, JSON.stringify(notice), payload);
    // The payload goes into the text as it is.
    core.notice(number, `${JSON.stringify(notice).slice(0, -1)},"payload":${payload}}`);
  };
  return {
    status: (status) => notice({ k: "status", status }),
    subscribed: (id) => notice({ k: "subscribed", id }),
    event: (id, text, bytes) => core.notice(number, `{"k":"event","id":${id},"event":${text}}`, bytes),
    gap: (id, gap) => notice({ k: "gap", id, ...gap }),
    ended: (id, failure) => notice({ k: "ended", id, failure }),
    published: (ticket, outcome) => {
      const position = "value" in outcome ? (outcome.value ?? undefined) : undefined;
      notice({ k: "published", ticket, ...failureOf(outcome), position });
    },
    reply: (ticket, outcome) => {
      if ("value" in outcome) packed({ k: "reply", ticket }, outcome.value);
      else notice({ k: "reply", ticket, failure: outcome.failure });
    },
    request: (question, name, payload) => packed({ k: "request", question, name }, payload),
    switched: (ticket, outcome) => {
      const transport = "value" in outcome ? outcome.value : undefined;
      notice({ k: "switched", ticket, ...failureOf(outcome), transport });
    },
    refreshed: (failure) => notice({ k: "refreshed", failure }),
  };
}

function failureOf(outcome: Outcome<unknown>): object {
  return "failure" in outcome ? { failure: outcome.failure } : {};
}
