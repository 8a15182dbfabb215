import kafkajs from 'kafkajs';
import { expect, test } from 'vitest';
import { tellWritersBy } from '../../../log/kafka/control-topics.ts';
import { silentLogger } from '../../../runtime/telemetry.ts';

const { AclOperationTypes: may } = kafkajs;
const TOPICS = ['foreshard.commands', 'foreshard.pointer-table'];

for (const { name, acls, fails, told } of [
  { name: 'Foreshard alone: nothing is said', acls: [['User:foreshard', may.WRITE]], told: [] },
  {
    name: 'readers do not count',
    acls: [
      ['User:foreshard', may.ALL],
      ['User:broker', may.READ],
    ],
    told: [],
  },
  {
    name: 'a second writer is named',
    acls: [
      ['User:foreshard', may.WRITE],
      ['User:broker', may.WRITE],
      ['User:broker', may.ALL],
    ],
    told: [
      ['warn', ['User:broker', 'User:foreshard']],
      ['warn', ['User:broker', 'User:foreshard']],
    ],
  },
  {
    name: 'everybody',
    acls: [['User:*', may.ALL]],
    told: [
      ['warn', ['User:*']],
      ['warn', ['User:*']],
    ],
  },
  { name: 'no authorizer: said once', acls: [], fails: 'SECURITY_DISABLED', told: [['warn', undefined]] },
  { name: 'nobody may ask: said once', acls: [], fails: 'CLUSTER_AUTHORIZATION_FAILED', told: [['info', undefined]] },
] as const)
  test(`who may write to the control topics: ${name}`, async () => {
    const lines: unknown[] = [];
    const say = (level: string) => (facts: { readonly writers?: unknown }) => lines.push([level, facts.writers]);
    const admin = {
      describeAcls: async () => {
        if (fails !== undefined) throw Object.assign(new Error(fails), { type: fails });
        return { resources: [{ acls: acls.map(([principal, operation]) => ({ principal, operation })) }] };
      },
    };
    await tellWritersBy(admin as never, TOPICS, { ...silentLogger, info: say('info'), warn: say('warn') });
    expect(lines).toEqual(told);
  });
