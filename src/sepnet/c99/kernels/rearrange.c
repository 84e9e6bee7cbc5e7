/* Detail: for channels, columns and rows of the target how many factors there are, then (count, step) of each, the innermost
 * first: steps in numbers of the source, all of whose rows lie one after the other. */
static int32_t place_of(const int32_t *factors, int32_t many, int32_t at)
{
    int32_t place = 0;

    for (; many > 0; many--, factors += 2) {
        place += at % factors[0] * factors[1];
        at /= factors[0];
    }
    return place;
}

static void rearrange(const struct operation *step, int row)
{
    const int32_t *channels = step->detail, *columns = channels + 1 + 2 * channels[0], *rows = columns + 1 + 2 * columns[0];
    const struct map *target = &maps[step->target];
    const uint8_t *in = row_of(&maps[step->source], 0);
    uint8_t *out = row_of(target, row);
    int32_t from = place_of(rows + 1, rows[0], row), inner = channels[0] ? channels[1] : 1, hop = channels[0] ? channels[2] : 0;
    int x, channel, at, bytes = target->bytes;

    for (x = 0; x < target->width; x++) {
        int32_t pixel = from + place_of(columns + 1, columns[0], x);

        for (channel = 0; channel < target->channels; channel += inner) {
            const uint8_t *run = in + (pixel + place_of(channels + 1, channels[0], channel)) * bytes;

            if (hop == 1) {
                memcpy(out, run, (size_t)(inner * bytes));
                out += inner * bytes;
                continue;
            }
            for (at = 0; at < inner; at++, out += bytes)
                memcpy(out, run + at * hop * bytes, (size_t)bytes);
        }
    }
}
