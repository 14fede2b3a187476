/** `@tidings/client/msgpack`: all of it, with messages as MessagePack where the application wants them so. */
export { connect } from "./full.js";
export { TidingsError, type ErrorCode, type ErrorDetails } from "./error.js";
export type * from "./types.js";
