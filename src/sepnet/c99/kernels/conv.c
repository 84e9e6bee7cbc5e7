/* A convolution.  `scratch` is an offset of the arena; `padded` is how many columns of the source a row of windows spans;
 * `direct` says that windows lie in the source as the kernel wants them, without zeros around. */
struct conv {
    struct rule rule;
    const void *weights;
    uint32_t scratch;
    uint16_t groups, padded;
    uint8_t height, width, stride, left, down, right, direct, format;
};
