/* Like requantized(), of sums that 32 bits hold only if `is_long` is less than 2. */
static int requantized_long(const struct rule *rule, int64_t sum, int32_t multiplier, int32_t offset)
{
    int64_t whole;

    if (rule->is_long < 2)
        return requantized(rule, (int32_t)sum, multiplier, offset);
    whole = (sum * multiplier + (int64_t)offset * ((int64_t)1 << rule->offset_shift)) >> rule->shift;
    return whole < rule->low ? rule->low : whole > rule->high ? rule->high : (int)whole;
}
