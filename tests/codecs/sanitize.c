/* Feeds the reader of adaptive.c what it must survive: `sanitize FILE SECONDS`, built with -fsanitize=address,undefined.

   FILE is records: mixes, kernel or 0 for patterns of nine bits, rows, columns, bytes (32-bit, of the machine), payload.
   Each is read as it is, and must be whole; then, until the time is over, with bits flipped, cut, and as random bytes, also
   of another shape.  Every buffer is exactly as large as the header says it has to be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adaptive.h"

static uint64_t state = 88172645463325252u;
static uint32_t any(uint32_t below) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(state >> 32) % below;
}

static int use(const uint8_t *data, size_t bytes, int mixes, int kernel, int rows, int columns, sepnet_coder *old) {
  uint8_t *copy = malloc(bytes ? bytes : 1);
  sepnet_coder *coder = old ? old : malloc(sizeof *coder);
  size_t cells = (size_t)rows * (size_t)columns;
  int whole;
  memcpy(copy, data, bytes);
  if (!old) memset(coder, 0xa5, sizeof *coder), sepnet_reset(coder, mixes);
  if (kernel) {
    int32_t *codes = malloc(cells * sizeof *codes);
    uint32_t *means = malloc((size_t)columns * sizeof *means);
    whole = sepnet_read_codes(coder, copy, bytes, codes, rows, columns, kernel, means, mixes);
#ifdef SEPNET_WRITER
    if (whole) {
      size_t room = bytes + 8 * cells + 64; /* final zeros are left out, but need room */
      uint8_t *again = malloc(room);
      sepnet_reset(coder, mixes);
      if (sepnet_write_codes(coder, again, room, codes, rows, columns, kernel, means, mixes) != bytes ||
          memcmp(again, copy, bytes))
        whole = -1;
      free(again);
    }
#endif
    free(codes), free(means);
  } else {
    uint8_t *bits = malloc(cells * 9);
    whole = sepnet_read_kernels(coder, copy, bytes, bits, rows, columns, 9);
    free(bits);
  }
  if (!old) free(coder);
  free(copy);
  return whole;
}

int main(int count, char **given) {
  static uint8_t file[1 << 20], work[1 << 16];
  FILE *in = count == 3 ? fopen(given[1], "rb") : NULL;
  size_t size = in ? fread(file, 1, sizeof file, in) : 0;
  clock_t end = clock() + (clock_t)(count == 3 ? atoi(given[2]) : 0) * CLOCKS_PER_SEC;
  long runs = 0;
  sepnet_coder *memory = malloc(sizeof *memory);
  if (!size || !memory) return 2;
  sepnet_reset(memory, 0);
  do {
    uint32_t head[5];
    for (size_t at = 0; at < size; at += sizeof head + head[4]) {
      memcpy(head, file + at, sizeof head);
      const uint8_t *data = file + at + sizeof head;
      int mixes = (int)head[0], kernel = (int)head[1], rows = (int)head[2], columns = (int)head[3];
      if (!runs && use(data, head[4], mixes, kernel, rows, columns, NULL) != 1) return 3;
      if (clock() >= end && runs) break;
      if (head[4] > sizeof work) return 4;
      memcpy(work, data, head[4]);
      size_t bytes = any(4) ? head[4] : any((uint32_t)head[4] + 1);
      if (!any(3))
        for (size_t i = 0; i < bytes; i++) work[i] = any(5) ? (uint8_t)any(256) : any(2) ? 255 : 0;
      else
        for (uint32_t flips = 1 + any(4); flips && bytes; flips--) work[any((uint32_t)bytes)] ^= (uint8_t)(1 << any(8));
      if (!any(3)) rows = 1 + (int)any(40), columns = 1 + (int)any(200), kernel = kernel ? 1 + (int)any(70) : 0;
      if (use(work, bytes, mixes, kernel, rows, columns, kernel || any(2) ? NULL : memory) < 0) return 5;
      runs++;
    }
  } while (clock() < end);
  free(memory);
  fclose(in);
  printf("%ld\n", runs);
  return 0;
}
