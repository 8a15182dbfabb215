// Loopback: which host names and addresses can be reached from this machine only. Servers without a token bind to these
// only; this is the one place that decides it.

const OCTET = '(25[0-5]|2[0-4]\\d|1?\\d?\\d)';
const LOOPBACK_V4 = new RegExp(`^127(\\.${OCTET}){3}$`);

/** True for `localhost`, `::1` and 127.0.0.0/8 in dotted form. */
export const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || LOOPBACK_V4.test(host);
