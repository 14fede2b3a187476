export { connect } from "./full.js";
export { TidingsError, type ErrorCode, type ErrorDetails } from "./error.js";
export type * from "./types.js";
