-- One worker says what it has parked; what a (tenant, topic) has parked in all workers together can be read at once.
-- KEYS: what all have parked (hash), what each worker said (hash). ARGV: worker, time to live in ms, said (JSON list).
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[3] == '[]' then
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[2], ARGV[1], cjson.encode({ends_ms = now_ms + tonumber(ARGV[2]), entries = cjson.decode(ARGV[3])}))
end

local total = {}
local function add(entry)
  local place = entry.tenant .. '|' .. entry.topic
  local known = total[place]
  if known == nil then
    total[place] = entry
    return
  end
  local pending = known.pending + entry.pending
  if entry.since_wall_ms < known.since_wall_ms then total[place] = entry end
  total[place].pending = pending
end

local said = redis.call('HGETALL', KEYS[2])
for at = 1, #said, 2 do
  local report = cjson.decode(said[at + 1])
  if report.ends_ms <= now_ms then
    redis.call('HDEL', KEYS[2], said[at])
  else
    for _, entry in ipairs(report.entries) do add(entry) end
  end
end
redis.call('DEL', KEYS[1])
for place, entry in pairs(total) do redis.call('HSET', KEYS[1], place, cjson.encode(entry)) end
-- The last worker to go takes its word with it.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.status_reply('OK')
