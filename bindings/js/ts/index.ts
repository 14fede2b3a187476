export { connect } from "./client.js";
export { TidingsError, type ErrorCode, type ErrorDetails } from "./error.js";
export type * from "./types.js";
