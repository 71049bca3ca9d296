#!lua name=farebox_keys_v1
-- What gateways must know of API keys while PostgreSQL is away: a copy of the keys, and the list of blocked ones.
--
-- KEYS   one: the key that is written, under the hash tag of its own slot.
--   {cNN}:k:<digest>, {cNN}:o:<org>   string  version|text
--   {ck}:b                            hash    v mark, and for each blocked key  <org>:<hash>  act|millisecond
--   {ck}:w                            string  the life in which the copy was filled; written by SET
--
-- ARGS
--   fk1_put      version text            OK  OLD      an older or equal version changes nothing
--   fk1_block    field value most        OK  FULL     most bounds the list
--   fk1_unblock  field                   OK
-- Every change of the list marks it with the microsecond: a list that was lost has no mark, and nobody takes one
-- that was made anew for the one they know.

local function mark(key)
  local now = redis.call('TIME')
  redis.call('HSET', key, 'v', now[1] .. '.' .. now[2])
end

local function put(keys, a)
  local old = redis.call('GET', keys[1])
  local have = old and tonumber(string.match(old, '^(%d+)|')) or -1
  if tonumber(a[1]) <= have then return 'OLD' end
  redis.call('SET', keys[1], a[1] .. '|' .. a[2])
  return 'OK'
end

local function block(keys, a)
  local there = redis.call('HGET', keys[1], a[1])
  if not there and redis.call('HLEN', keys[1]) > tonumber(a[3]) then return 'FULL' end
  redis.call('HSET', keys[1], a[1], a[2])
  mark(keys[1])
  return 'OK'
end

local function unblock(keys, a)
  if redis.call('HDEL', keys[1], a[1]) == 1 then mark(keys[1]) end
  return 'OK'
end

redis.register_function('fk1_put', put)
redis.register_function('fk1_block', block)
redis.register_function('fk1_unblock', unblock)
