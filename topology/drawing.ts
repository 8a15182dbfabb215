// Drawing: the topology value as a picture in Mermaid's flowchart language, which README.md shows. A test holds the two
// together, so the drawing cannot lie.

import type { Topology } from './graph.ts';

/** Stages are boxes, topics rounded; local topics are left out since they never leave a task. */
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
