// The HTTP server of a test: without a socket, over fake views, closed when the test is over.

import type { FastifyInstance } from 'fastify';
import { onTestFinished } from 'vitest';
import { type HttpOptions, httpApp } from '../../api/edge/http-server.ts';
import type { Views } from '../../api/views.ts';
import { silentLogger, silentMeter } from '../../runtime/telemetry.ts';
import { fakeViews } from './fake-views.ts';

export const READ_TOKEN = 'read-token-0123456789';
export const ADMIN_TOKEN = 'admin-token-0123456789';

/** Without tokens. */
export const OPEN: HttpOptions = {
  host: '127.0.0.1',
  port: 0,
  readToken: '',
  adminToken: '',
  advertised: '',
  peerTimeoutMs: 1_000,
  logger: silentLogger,
  meter: silentMeter,
};
export const CLOSED: HttpOptions = { ...OPEN, readToken: READ_TOKEN, adminToken: ADMIN_TOKEN };

/** Over views of the test's own, or over the fake ones with some answers replaced. */
export async function appOf(options: HttpOptions, views: Partial<Views> = {}): Promise<FastifyInstance> {
  const app = await httpApp('asked' in views ? (views as Views) : fakeViews(views), options);
  onTestFinished(() => app.close());
  return app;
}
