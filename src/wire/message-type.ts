/** First bytes of messages. Protocol: https://www.postgresql.org/docs/18/protocol-message-formats.html */

/** Messages that clients send. */
export const CLIENT = {
  BIND: 0x42, // B
  CLOSE: 0x43, // C
  COPY_DATA: 0x64, // d
  COPY_DONE: 0x63, // c
  COPY_FAIL: 0x66, // f
  DESCRIBE: 0x44, // D
  EXECUTE: 0x45, // E
  FLUSH: 0x48, // H
  FUNCTION_CALL: 0x46, // F
  PARSE: 0x50, // P
  PASSWORD: 0x70, // p: password, SASLInitialResponse, SASLResponse
  QUERY: 0x51, // Q
  SYNC: 0x53, // S
  TERMINATE: 0x58, // X
} as const;

/** Messages that servers send. */
export const SERVER = {
  AUTHENTICATION: 0x52, // R
  BACKEND_KEY_DATA: 0x4b, // K
  BIND_COMPLETE: 0x32, // 2
  CLOSE_COMPLETE: 0x33, // 3
  COMMAND_COMPLETE: 0x43, // C
  COPY_DATA: 0x64, // d
  COPY_DONE: 0x63, // c
  COPY_IN: 0x47, // G
  COPY_OUT: 0x48, // H
  COPY_BOTH: 0x57, // W
  DATA_ROW: 0x44, // D
  EMPTY_QUERY: 0x49, // I
  ERROR: 0x45, // E
  FUNCTION_RESULT: 0x56, // V
  NEGOTIATE_VERSION: 0x76, // v
  NO_DATA: 0x6e, // n
  NOTICE: 0x4e, // N
  NOTIFICATION: 0x41, // A
  PARAMETER_DESCRIPTION: 0x74, // t
  PARAMETER_STATUS: 0x53, // S
  PARSE_COMPLETE: 0x31, // 1
  PORTAL_SUSPENDED: 0x73, // s
  READY: 0x5a, // Z
  ROW_DESCRIPTION: 0x54, // T
} as const;

/** Transaction status in ReadyForQuery. */
export const STATUS = { IDLE: 0x49, TRANSACTION: 0x54, FAILED: 0x45 } as const;

/** Type byte and length. */
export const HEADER_BYTES = 5;
