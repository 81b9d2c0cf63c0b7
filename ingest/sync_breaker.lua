-- One process tells where its breaker stands and what became of its trials, and learns where the breaker stands for all.
-- The higher epoch wins, and of equal ones what is stored. While HALF_OPEN, exactly `trials` permits exist for all
-- processes: one that nobody used in time, or that came to nothing, is given again; a used one of which nothing is heard
-- in time has failed. Where nobody has more to try with for as long, the trials that there were decide.
-- KEYS: standing (hash), permits (sorted by when they end), epochs (hash), version, transitions (stream).
-- ARGV: field in epochs, worker, state, epoch, age_ms, cause, by, override, trials, failure ratio, permit_ms, result_ms,
--   wanted, successes, failures, given back, used permits …
-- Returns {state, epoch, age_ms, cause, by, override, granted permits …}. The server's clock is the only one.
local standing, permits = KEYS[1], KEYS[2]
local field, worker, state, epoch = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local trials, ratio = tonumber(ARGV[9]), tonumber(ARGV[10])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function move(to, to_epoch, since_ms, cause, by, override)
  local from = redis.call('HGET', standing, 'state') or 'CLOSED'
  redis.call('HSET', standing, 'state', to, 'epoch', to_epoch, 'since_wall_ms', since_ms, 'cause', cause, 'by', by,
    'override', override, 'worker', worker, 'succeeded', 0, 'failed', 0, 'heard_wall_ms', now_ms)
  redis.call('DEL', permits)
  redis.call('HSET', KEYS[3], field, to_epoch)
  -- No counter: after a restart it would come by numbers that were seen before.
  redis.call('SET', KEYS[4], table.concat({time[1], time[2], field, to_epoch}, ':'))
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', 1000, '*', 'breaker', field, 'from', from, 'to', to, 'epoch', to_epoch,
    'cause', cause, 'by', by, 'worker', worker)
end

-- Up to `count` of this worker's used permits are out no longer; returns how many it had.
local function answer(count)
  local mine, answered = 'used:' .. worker .. ':', 0
  for _, permit in ipairs(redis.call('ZRANGE', permits, 0, -1)) do
    if answered < count and string.sub(permit, 1, #mine) == mine then
      redis.call('ZREM', permits, permit)
      answered = answered + 1
    end
  end
  return answered
end

local function sweep()
  for _, permit in ipairs(redis.call('ZRANGEBYSCORE', permits, '-inf', now_ms)) do
    redis.call('ZREM', permits, permit)
    if string.sub(permit, 1, 5) == 'used:' then redis.call('HINCRBY', standing, 'failed', 1) end
  end
end

local function grant(count)
  local granted = {}
  for _ = 1, count do
    local id = worker .. ':' .. redis.call('HINCRBY', standing, 'permits', 1)
    redis.call('ZADD', permits, now_ms + tonumber(ARGV[11]), 'free:' .. id)
    granted[#granted + 1] = id
  end
  return granted
end

local shared = tonumber(redis.call('HGET', standing, 'epoch') or 0)
if epoch > shared then
  move(state, epoch, now_ms - tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8])
  shared = epoch
end
local granted = {}
if shared == epoch and redis.call('HGET', standing, 'state') == 'HALF_OPEN' then
  for at = 17, #ARGV do
    if redis.call('ZREM', permits, 'free:' .. ARGV[at]) == 1 then
      redis.call('ZADD', permits, now_ms + tonumber(ARGV[12]), 'used:' .. ARGV[at])
    end
  end
  local newly_failed, newly_succeeded = answer(tonumber(ARGV[15])), answer(tonumber(ARGV[14]))
  redis.call('HINCRBY', standing, 'failed', newly_failed)
  redis.call('HINCRBY', standing, 'succeeded', newly_succeeded)
  answer(tonumber(ARGV[16]))
  if newly_failed + newly_succeeded > 0 then redis.call('HSET', standing, 'heard_wall_ms', now_ms) end
  sweep()
  local failed = tonumber(redis.call('HGET', standing, 'failed'))
  local decided = failed + tonumber(redis.call('HGET', standing, 'succeeded'))
  local left = redis.call('ZCARD', permits)
  local heard_ms = tonumber(redis.call('HGET', standing, 'heard_wall_ms') or now_ms)
  if decided >= trials or (decided > 0 and left == 0 and now_ms - heard_ms >= tonumber(ARGV[12])) then
    local to = failed >= ratio * decided and 'OPEN' or 'CLOSED'
    local cause = string.format('%d of %d trials failed', failed, decided)
    move(to, epoch + 1, now_ms, cause, '', redis.call('HGET', standing, 'override'))
  else
    granted = grant(math.min(tonumber(ARGV[13]), trials - decided - left))
  end
end
local now = redis.call('HMGET', standing, 'state', 'epoch', 'since_wall_ms', 'cause', 'by', 'override')
return {now[1] or 'CLOSED', now[2] or '0', now_ms - tonumber(now[3] or now_ms), now[4] or '', now[5] or '',
  now[6] or '0', unpack(granted)}
