/** The alerts for Prometheus: they are tested with its own tool if that is installed, and use only existing metrics. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../deploy/prometheus/', import.meta.url))
const promtool = (...args: string[]) => spawnSync('promtool', args, { cwd: folder, encoding: 'utf8' })
const missing = promtool('--version').error !== undefined && 'promtool is not installed (Debian: prometheus)'

test('the alerts fire when they should, and not before', { skip: missing }, () => {
  for (const words of [
    ['check', 'rules', 'alerts.yaml'],
    ['test', 'rules', 'alerts.test.yaml'],
  ]) {
    const { status, stdout, stderr } = promtool(...words)
    assert.equal(status, 0, `${stdout}${stderr}`)
  }
})

test('the alerts are on metrics that are documented', () => {
  const documented = new Set(readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8').match(/\bpoke_[a-z_]+/g))
  const used = [...readFileSync(`${folder}alerts.yaml`, 'utf8').matchAll(/expr: (.*)/g)].flatMap(
    ([, expr = '']) => expr.match(/\bpoke_[a-z_]+/g) ?? [],
  )
  assert.ok(used.length > 0)
  for (const metric of used) assert.ok(documented.has(metric.replace(/_(?:bucket|sum|count)$/, '')), `${metric} is not in docs/metrics.md`)
})
