// Drawing: the topology value as a flowchart in Mermaid's language, which README.md shows. A test compares the
// two, so that the drawing is always current.

import type { Topology } from './graph.ts';

/** Stages are boxes, topics are rounded; local topics are left out, since they never leave a task. */
export function drawing(topology: Topology): string {
  const logged = new Set(topology.topics.map((topic) => topic.name));
  const lines = ['flowchart LR'];
  for (const topic of topology.topics)
    lines.push(`  ${idOf(topic.name)}([${topic.name}${topic.cleanup === 'compact' ? ' · compacted' : ''}])`);
  for (const stage of topology.stages) {
    lines.push(`  ${stage.name}[${stage.name}${stage.keeps === undefined ? '' : `<br/>keeps ${stage.keeps.name}`}]`);
    for (const topic of stage.reads) if (logged.has(topic.name)) lines.push(`  ${idOf(topic.name)} --> ${stage.name}`);
    for (const topic of stage.emits) if (logged.has(topic.name)) lines.push(`  ${stage.name} --> ${idOf(topic.name)}`);
  }
  return lines.join('\n');
}

const idOf = (topic: string): string => `t_${topic.replaceAll('-', '_')}`;
