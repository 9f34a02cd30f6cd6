import type { ServerTls } from '../../src/config/config.ts';

/** Nothing is encrypted, nothing asked for. */
export const NO_TLS: ServerTls = { mode: 'disable', ca: null, cert: null, key: null, cleartext_password: 'encrypted' };
