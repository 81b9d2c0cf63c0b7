-- Takes up to `want` of what is left in a fixed window; a negative `want` puts something back. What is
-- `owed` is counted even where it is not there.
-- KEYS[1] the window's counter; ARGV: limit, want, owed (<= want), time to live in ms. Returns {granted, left} as text.
local limit, want, owed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used = tonumber(redis.call('GET', KEYS[1])) or 0
local granted = math.min(want, math.max(limit - used, owed))
used = math.max(0, used + granted)
redis.call('SET', KEYS[1], string.format('%.6f', used), 'PX', ARGV[4])
return {string.format('%.6f', granted), string.format('%.6f', limit - used)}
