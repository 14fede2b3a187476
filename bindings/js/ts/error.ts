/** What can go wrong. Codes are for programs and stay; messages are for people and may change. */
export type ErrorCode =
  /** An argument is not what it should be. */
  | "bad-argument"
  /** The client or the collection is closed. */
  | "closed"
  /** Not done in the time given: whether it had an effect is not known. */
  | "timeout"
  /** Not sent in the time given: it had no effect. */
  | "expired"
  /** Too much waits already; nothing was queued. */
  | "queue-full"
  /** A volatile event that could not be sent at once. */
  | "not-connected"
  /** The connection ended before the reply came. */
  | "disconnected"
  /** The server refused it; `refusal` says why. */
  | "refused"
  /** The new transport did not come up, or another was asked for meanwhile. */
  | "switch-failed"
  /** A write is not possible, or the server has rejected it. */
  | "rejected"
  /** The storage fails. */
  | "storage"
  /** The WebAssembly module, or a part of the package, could not be loaded. */
  | "load-failed"
  /** Something that should not happen. */
  | "internal";

/** What more there is to know about an error. */
export interface ErrorDetails {
  /** Whether the same again may do better. */
  retryable?: boolean;
  /** The server's number for why it refused, as docs/protocol.md lists them. */
  refusal?: number;
  /** Why a write was rejected: `exists`, `missing`, `conflict`, `forbidden` and so on. */
  reason?: string;
  cause?: unknown;
}

/** The one error of this package. */
export class TidingsError extends Error {
  override readonly name = "TidingsError";
  readonly code: ErrorCode;
  /** Whether the same again may do better. */
  readonly retryable: boolean;
  /** The server's number for why it refused. */
  readonly refusal?: number;
  /** Why a write was rejected. */
  readonly reason?: string;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, "cause" in details ? { cause: details.cause } : undefined);
    this.code = code;
    this.retryable = details.retryable ?? false;
    if (details.refusal !== undefined) this.refusal = details.refusal;
    if (details.reason !== undefined) this.reason = details.reason;
  }
}
