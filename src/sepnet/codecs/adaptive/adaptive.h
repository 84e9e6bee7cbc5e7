/* Adaptive binary arithmetic coding of the integer codes of weights; see adaptive.c.

   A coder is one struct of SEPNET_CODER_BYTES at most, which the caller provides; nothing is allocated.  `means` is room
   for one number a column.  A matrix of codes has `rows` rows (filters) of `columns` codes, filled with kernels of
   `kernel` codes each (1 for fully connected layers).  `mixes` is 0 for "ab1" and 1 for "mx1". */
#ifndef SEPNET_ADAPTIVE_H
#define SEPNET_ADAPTIVE_H
#include <stddef.h>
#include <stdint.h>

enum { SEPNET_INPUTS = 7, SEPNET_SETS = 50, SEPNET_CELLS = 4815, SEPNET_LIMIT = 1000, SEPNET_CODER_BYTES = 32000 };

typedef struct {
  uint32_t low, high, code;
  const uint8_t *in, *end;
  uint8_t *out, *limit;
  int16_t stretch[4096];
  uint16_t squash[512], share[SEPNET_LIMIT + 1];
  int32_t weights[SEPNET_SETS][SEPNET_INPUTS];
  uint32_t cells[SEPNET_CELLS];
} sepnet_coder;

/* Make a coder forget everything. */
void sepnet_reset(sepnet_coder *coder, int mixes);

/* Read rows x columns codes.  Returns 1 if the data ended exactly where a writer would have ended it, else 0; the codes
   are then whatever the data said, and nothing outside `codes` and `means` was touched. */
int sepnet_read_codes(sepnet_coder *coder, const uint8_t *data, size_t bytes, int32_t *codes, int32_t rows,
                      int32_t columns, int32_t kernel, uint32_t *means, int mixes);

/* Read rows x kernels binary kernels of kernel x 1 bit, a byte a bit.  The coder remembers from layer to layer. */
int sepnet_read_kernels(sepnet_coder *coder, const uint8_t *data, size_t bytes, uint8_t *bits, int32_t rows,
                        int32_t kernels, int32_t kernel);

#ifdef SEPNET_WRITER
/* Write; returns the bytes that it takes, or more than `room` if that was too little: call again with so much, after a
   reset.  Codes are from -2^22 to 2^22. */
size_t sepnet_write_codes(sepnet_coder *coder, uint8_t *data, size_t room, const int32_t *codes, int32_t rows,
                          int32_t columns, int32_t kernel, uint32_t *means, int mixes);
size_t sepnet_write_kernels(sepnet_coder *coder, uint8_t *data, size_t room, const uint8_t *bits, int32_t rows,
                            int32_t kernels, int32_t kernel);
#endif
#endif
