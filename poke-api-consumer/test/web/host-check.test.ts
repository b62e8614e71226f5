import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAllowedHost } from '../../src/infrastructure/web/host-check.ts'

const allowed = new Set(['pokemon.example'])

for (const host of [
  'localhost',
  'LOCALHOST:8080',
  'localhost.:8080',
  'counts.localhost',
  '127.0.0.1:8080',
  '192.168.1.7',
  '[::1]:8080',
  '[::1]',
  'pokemon.example:8080',
  'Pokemon.Example',
]) {
  test(`the page answers to ${host}`, () => assert.equal(isAllowedHost(host, allowed), true))
}

for (const host of [
  undefined,
  '',
  'evil.example',
  'localhost.evil.example',
  'notlocalhost',
  '127.0.0.1.evil.example',
  '127.0.0.1@evil.example',
  '127.1',
  '2130706433',
  '[::1].evil.example',
  '::1',
  'evil.example:8080:127.0.0.1',
  'sub.pokemon.example',
]) {
  test(`the page does not answer to ${host ?? 'a request without Host'}`, () => assert.equal(isAllowedHost(host, allowed), false))
}
