/* Adaptive binary arithmetic coding of the integer codes of weights: "ab1", "mx1" which mixes more contexts, and
   "kernels_ab1" for the sign patterns of kernels.

   Every yes-or-no decision about a code (is it zero, its sign, is its magnitude above k) is predicted from cells: adaptive
   probabilities, chosen by what is decoded already (neighbours, means of the column and of the row).  The predictions are
   mixed in the logistic domain with learned weights and drive a carry-less 32-bit range coder (M. Mahoney, "Adaptive
   weighing of context models for lossless data compression", 2005).  Integers only, so the bytes are the same everywhere.
   docs/codecs.md is the specification; twin.py says the same in Python.

   Without SEPNET_WRITER only what reads is compiled; SEPNET_FAST trades size for speed. */
#include "adaptive.h"

#ifdef SEPNET_FAST
#define MODEL static inline __attribute__((always_inline))
#else
#define MODEL static
#endif
#define SMALL static inline

enum {
  UNARY = 14,  /* magnitudes from here on have an Exp-Golomb tail */
  TAILS = 20,  /* at most so many doublings in it */
  LEVELS = 32, /* buckets of a mean */
  PLACES = 10, /* places in a kernel that mx1 tells apart; the last stands for all others */
  LARGEST = 1 << 19,
};

/* Where cells lie: for each decision ab1's two kinds of context, then those that mx1 mixes in. */
enum {
  ZERO_COLUMN = 0,                          /* column mean, left, up */
  ZERO_ROW = ZERO_COLUMN + LEVELS * 4,      /* row mean, how many of five neighbours are not zero */
  ZERO_BOTH = ZERO_ROW + LEVELS * 6,        /* column mean, row mean */
  ZERO_NEAR = ZERO_BOTH + 16 * 16,          /* mean of the neighbours, place */
  ZERO_SIZES = ZERO_NEAR + LEVELS * PLACES, /* magnitudes of left, up, before */
  ZERO_PLACE = ZERO_SIZES + 64,             /* place, signs of left and above, row mean */
  ZERO_DEPTH = ZERO_PLACE + PLACES * 9 * 4, /* row, column mean, up */
  SIGN_ALL = ZERO_DEPTH + 5 * LEVELS * 2,   /* signs of left, up, before, above */
  SIGN_PLACE = SIGN_ALL + 81,               /* any place, signs of left and above */
  SIGN_BEFORE = SIGN_PLACE + 51 * 9,        /* signs of before, the one before that, and up */
  MORE_COLUMN = SIGN_BEFORE + 27,           /* k, column mean */
  MORE_ROW = MORE_COLUMN + 10 * LEVELS,     /* k, row mean */
  MORE_NEAR = MORE_ROW + 10 * LEVELS,       /* k, mean of the neighbours */
  MORE_BOTH = MORE_NEAR + 12 * LEVELS,      /* k, column mean, row mean */
  MORE_SIZES = MORE_BOTH + 8 * 64,          /* k, magnitudes of left and up */
  MORE_PLACE = MORE_SIZES + 8 * 32,         /* k, place, row mean */
  TAIL_COLUMN = MORE_PLACE + 6 * PLACES * 4,
  TAIL_ROW = TAIL_COLUMN + 8 * LEVELS,
  BITS_TAIL = TAIL_ROW + 8 * LEVELS, /* of the numbers within a tail: known bits, tail */
  BITS_ROW = BITS_TAIL + 8 * 4,      /* known bits, whether any is known, row mean */
  CELLS = BITS_ROW + 4 * 8,
  TREE = 0,             /* of a kernel: the first nine bits so far */
  LATER = TREE + 512,   /* place, neighbours in the kernel, for the bits after nine */
  AROUND = LATER + 1107 /* place, neighbours in the kernel, same bit of the kernels before and up */
};
enum { SET_ZERO, SET_SIGN, SET_MORE = 2 /* from k = 1 */, SET_TAIL = 16, SET_BITS = SET_TAIL + TAILS };
typedef char cells_fit[CELLS <= (int)SEPNET_CELLS && AROUND + 25 * 81 <= (int)SEPNET_CELLS ? 1 : -1];
typedef char coder_fits[sizeof(sepnet_coder) <= SEPNET_CODER_BYTES ? 1 : -1];

/* squash is 65536 / (1 + e^(-x/256)) and stretch its inverse; powers of e^(-1/256) by repeated multiplication. */
void sepnet_reset(sepnet_coder *s, int mixes) {
  uint64_t power = 1ull << 32;
  int next = 2048;
  for (int x = 0; x < 2048; x++, power = power * 4278222846u >> 32) {
    int p = (int)((1ull << 48) / ((1ull << 32) + power));
    if (p > 65520) p = 65520;
    if (x % 8 == 4) s->squash[256 + x / 8] = (uint16_t)p, s->squash[255 - x / 8] = (uint16_t)(65536 - p);
    for (; next < 4096 && (next * 16 + 8 <= p || x == 2047); next++)
      s->stretch[next] = (int16_t)x, s->stretch[4095 - next] = (int16_t)-x;
  }
  for (int n = 0; n <= SEPNET_LIMIT; n++) s->share[n] = (uint16_t)(655360 / (10 * n + 16));
  for (int i = 0; i < SEPNET_CELLS; i++) s->cells[i] = 1u << 31;
  for (int i = 0; i < SEPNET_SETS; i++) {
    int weight = !mixes || i >= SET_TAIL ? 38000 : i == SET_ZERO ? 12000 : i == SET_SIGN ? 22000 : 11000;
    for (int j = 0; j < SEPNET_INPUTS; j++) s->weights[i][j] = weight;
  }
}

/* Beyond the end there are zeros. */
SMALL uint32_t next_byte(sepnet_coder *s) { return s->in < s->end ? *s->in++ : 0; }

/* One decision: predicted from the cells `at`, coded, and learned from.  A cell is a probability of yes, 22 bits, and a
   count, 10 bits.  A writer gives `bit`; a reader gets it back. */
MODEL int decide(sepnet_coder *s, const uint16_t *at, int inputs, int set, int bit, int reads) {
  int32_t *weight = s->weights[set], signal[SEPNET_INPUTS];
  int64_t sum = 0;
  for (int i = 0; i < inputs; i++) sum += (int64_t)weight[i] * (signal[i] = s->stretch[s->cells[at[i]] >> 20]);
  int x = (int)(sum >> 16);
  x = x > 2047 ? 2047 : x < -2048 ? -2048 : x;
  int p = s->squash[(x + 2048) >> 3];
  uint32_t middle = s->low + (uint32_t)(((uint64_t)(s->high - s->low) * (uint32_t)p) >> 16);
  if (reads) bit = s->code <= middle;
  if (bit) s->high = middle;
  else s->low = middle + 1;
  while ((s->low ^ s->high) < 1u << 24) {
    if (reads) s->code = s->code << 8 | next_byte(s);
#ifdef SEPNET_WRITER
    else {
      if (s->out < s->limit) *s->out = (uint8_t)(s->high >> 24);
      s->out++;
    }
#endif
    s->low <<= 8;
    s->high = s->high << 8 | 255;
  }
  int error = ((bit << 16) - p) * (inputs == 2 ? 8 : inputs == 6 ? 1 : 2);
  for (int i = 0; i < inputs; i++) {
    uint32_t cell = s->cells[at[i]], n = cell & 1023;
    int32_t old = (int32_t)(cell >> 10);
    old += (int32_t)(((int64_t)((bit ? 4194303 : 0) - old) * s->share[n]) >> 16);
    s->cells[at[i]] = (uint32_t)old << 10 | (n < SEPNET_LIMIT ? n + 1 : n);
    weight[i] = (int32_t)((uint32_t)weight[i] + (uint32_t)(((int64_t)signal[i] * error + 131072) >> 18));
  }
  return bit;
}

SMALL int magnitude(int32_t x) { return x < 0 ? -x : x; }
SMALL int sign(int32_t x) { return (x > 0) - (x < 0) + 1; }
SMALL int most(int x, int limit) { return x < limit ? x : limit; }

/* The bucket of a mean with 12 fraction bits, two an octave. */
SMALL int level(uint32_t mean) {
  int top = 3;
  uint32_t x = mean + 8;
#ifdef __GNUC__
  top = 31 - __builtin_clz(x);
#else
  while (x >> top > 1) top++;
#endif
  return most((top - 3) * 2 + (int)(x >> (top - 1) & 1), LEVELS - 1);
}

SMALL uint32_t towards(uint32_t mean, int size, uint32_t share) {
  int64_t gap = (int64_t)most(size, LARGEST) * 4096 - mean;
  return (uint32_t)(mean + (gap * share >> 16));
}

/* The magnitude beyond UNARY: Exp-Golomb, 4 << e numbers in tail e. */
MODEL int tail(sepnet_coder *s, uint32_t rest, int by_column, int by_row, int reads) {
  uint32_t below = 0, known = 0;
  uint16_t at[2];
  int e = 0;
  for (; e < TAILS - 1; e++) {
    at[0] = (uint16_t)(TAIL_COLUMN + most(e, 7) * LEVELS + by_column);
    at[1] = (uint16_t)(TAIL_ROW + most(e, 7) * LEVELS + by_row);
    if (!decide(s, at, 2, SET_TAIL + e, rest - below >= 4u << e, reads)) break;
    below += 4u << e;
  }
  for (int i = e + 1; i >= 0; i--) {
    int seen = i == e + 1 ? 0 : i == e ? 1 + (int)known : 3;
    at[0] = (uint16_t)(BITS_TAIL + most(e, 7) * 4 + seen);
    at[1] = (uint16_t)(BITS_ROW + seen * 8 + (i <= e) * 4 + by_row / 8);
    known = 2 * known + (uint32_t)decide(s, at, 2, SET_BITS, (int)((rest - below) >> i & 1), reads);
  }
  return UNARY + (int)(below + known);
}

MODEL void code_matrix(sepnet_coder *s, int32_t *codes, int32_t rows, int32_t columns, int32_t kernel, uint32_t *means,
                       int mixes, int reads) {
  int side = 1, deep = kernel > 1;
  uint16_t at[SEPNET_INPUTS];
  while ((side + 1) * (side + 1) <= kernel) side++;
  for (int32_t c = 0; c < columns; c++) means[c] = 0;
  for (int32_t r = 0; r < rows; r++) {
    uint32_t row = 0, fresh = s->share[most(r, 255)];
    int place = 0, left = 0, left2 = 0, depth = r < 2 ? 0 : r < 4 ? 1 : r < 8 ? 2 : r < 32 ? 3 : 4;
    int32_t *code = codes + (size_t)r * (size_t)columns;
    for (int32_t c = 0; c < columns; c++, code++) {
      int up = r ? code[-(ptrdiff_t)columns] : 0, up2 = r > 1 ? code[-2 * (ptrdiff_t)columns] : 0;
      int before = deep && c >= kernel ? code[-kernel] : 0, near = 0, spot = most(place, PLACES - 1);
      int by_column = level(means[c]), by_row = level(row);
      int value = reads ? 0 : *code, size = magnitude(value);
      at[0] = (uint16_t)(ZERO_COLUMN + by_column * 4 + (left != 0) + 2 * (up != 0));
      at[1] = (uint16_t)(ZERO_ROW + by_row * 6 + (left != 0) + (left2 != 0) + (up != 0) + (up2 != 0) + (before != 0));
      if (mixes) {
        int above = deep && place >= side ? code[-side] : 0;
        int sizes = 2 * (magnitude(left) + magnitude(up)) + magnitude(left2) + magnitude(up2) + magnitude(before);
        near = level((uint32_t)most(sizes + magnitude(above), LARGEST) * 4096u / (deep ? 8 : 6));
        at[2] = (uint16_t)(ZERO_BOTH + by_column / 2 * 16 + by_row / 2);
        at[3] = (uint16_t)(ZERO_NEAR + near * PLACES + spot);
        at[4] = (uint16_t)(ZERO_SIZES + (most(magnitude(left), 3) * 4 + most(magnitude(up), 3)) * 4 +
                           most(magnitude(before), 3));
        at[5] = (uint16_t)(ZERO_PLACE + ((deep ? spot : most(r / 8, 9)) * 9 + (deep && place ? sign(left) : 1) * 3 +
                                         sign(above)) * 4 + by_row / 8);
        at[6] = (uint16_t)(ZERO_DEPTH + (depth * LEVELS + by_column) * 2 + (up != 0));
      }
      if (decide(s, at, mixes ? 7 : 2, SET_ZERO, value != 0, reads)) {
        int l = sign(left), b = sign(before), above = deep && place >= side ? sign(code[-side]) : 1, k = 1;
        at[0] = (uint16_t)(SIGN_ALL + ((l * 3 + sign(up)) * 3 + b) * 3 + above);
        at[1] = (uint16_t)(SIGN_PLACE + (most(place, 50) * 3 + (deep && place ? l : 1)) * 3 + above);
        if (mixes) {
          int older = !deep ? up2 : c >= 2 * kernel ? code[-2 * kernel] : 0;
          at[2] = (uint16_t)(SIGN_BEFORE + (b * 3 + sign(older)) * 3 + sign(up));
        }
        int positive = decide(s, at, mixes ? 3 : 2, SET_SIGN, value > 0, reads);
        for (; k < UNARY; k++) {
          int step = k < 8 ? k : 8 + (k - 8) / 3;
          at[0] = (uint16_t)(MORE_COLUMN + step * LEVELS + by_column);
          at[1] = (uint16_t)(MORE_ROW + step * LEVELS + by_row);
          if (mixes) {
            int eighth = most(k, 7), sixth = most(k, 5);
            at[2] = (uint16_t)(MORE_NEAR + most(k, 11) * LEVELS + near);
            at[3] = (uint16_t)(MORE_BOTH + eighth * 64 + by_column / 4 * 8 + by_row / 4);
            at[4] = (uint16_t)(MORE_SIZES + eighth * 32 + most(magnitude(left), 15) / 2 * 4 + most(magnitude(up), 15) / 4);
            at[5] = (uint16_t)(MORE_PLACE + (sixth * PLACES + spot) * 4 + by_row / 8);
          }
          if (!decide(s, at, mixes ? 6 : 2, SET_MORE - 1 + k, size > k, reads)) break;
        }
        if (k == UNARY) k = tail(s, (uint32_t)(size - UNARY), by_column, by_row, reads);
        if (reads) size = k, value = positive ? k : -k;
      }
      if (reads) *code = value;
      means[c] = towards(means[c], size, fresh);
      row = towards(row, size, s->share[most(c, 255)]);
      left2 = left, left = value;
      if (++place == kernel) place = 0;
    }
  }
}

MODEL void code_kernels(sepnet_coder *s, uint8_t *bits, int32_t rows, int32_t kernels, int32_t kernel, int reads) {
  int side = 1;
  while ((side + 1) * (side + 1) <= kernel) side++;
  for (int32_t r = 0; r < rows; r++)
    for (int32_t c = 0; c < kernels; c++) {
      uint8_t *bit = bits + ((size_t)r * (size_t)kernels + (size_t)c) * (size_t)kernel;
      int prefix = 1;
      for (int i = 0; i < kernel; i++) {
        int left = i % side ? bit[i - 1] + 1 : 0, above = i >= side ? bit[i - side] + 1 : 0;
        int corner = i % side && i >= side ? bit[i - side - 1] + 1 : 0;
        int before = c ? bit[i - kernel] + 1 : 0, up = r ? bit[i - (ptrdiff_t)kernels * kernel] + 1 : 0;
        uint16_t at[2];
        at[0] = (uint16_t)(i < 9 ? TREE + prefix : LATER + ((most(i, 49) - 9) * 9 + left * 3 + above) * 3 + corner);
        at[1] = (uint16_t)(AROUND + (((most(i, 24) * 3 + left) * 3 + above) * 3 + before) * 3 + up);
        bit[i] = (uint8_t)decide(s, at, 2, most(i, SEPNET_SETS - 1), reads ? 0 : bit[i], reads);
        prefix = 2 * prefix + bit[i];
      }
    }
}

static void start_reading(sepnet_coder *s, const uint8_t *data, size_t bytes) {
  s->low = s->code = 0, s->high = ~0u, s->in = data, s->end = data + bytes;
  for (int i = 0; i < 4; i++) s->code = s->code << 8 | next_byte(s);
}

/* A writer ends with the one byte that tells the last interval from all others, unless zeros do, and drops final zeros. */
SMALL uint32_t ending(const sepnet_coder *s) { return s->low ? (s->low >> 24) + 1 : 0; }

static int read_all(const sepnet_coder *s, const uint8_t *data) {
  return s->in == s->end && s->code == ending(s) << 24 && (s->end == data || s->end[-1]);
}

int sepnet_read_codes(sepnet_coder *s, const uint8_t *data, size_t bytes, int32_t *codes, int32_t rows, int32_t columns,
                      int32_t kernel, uint32_t *means, int mixes) {
  start_reading(s, data, bytes);
#ifdef SEPNET_FAST
  if (!mixes) code_matrix(s, codes, rows, columns, kernel, means, 0, 1);
  else
#endif
    code_matrix(s, codes, rows, columns, kernel, means, mixes, 1);
  return read_all(s, data);
}

int sepnet_read_kernels(sepnet_coder *s, const uint8_t *data, size_t bytes, uint8_t *bits, int32_t rows, int32_t kernels,
                        int32_t kernel) {
  start_reading(s, data, bytes);
  code_kernels(s, bits, rows, kernels, kernel, 1);
  return read_all(s, data);
}

#ifdef SEPNET_WRITER
static void start_writing(sepnet_coder *s, uint8_t *data, size_t room) {
  s->low = 0, s->high = ~0u, s->out = data, s->limit = data + room;
}

static size_t written(sepnet_coder *s, uint8_t *data) {
  if (ending(s)) {
    if (s->out < s->limit) *s->out = (uint8_t)ending(s);
    s->out++;
  }
  while (s->out > data && s->out <= s->limit && !s->out[-1]) s->out--;
  return (size_t)(s->out - data);
}

size_t sepnet_write_codes(sepnet_coder *s, uint8_t *data, size_t room, const int32_t *codes, int32_t rows,
                          int32_t columns, int32_t kernel, uint32_t *means, int mixes) {
  start_writing(s, data, room);
  if (mixes) code_matrix(s, (int32_t *)codes, rows, columns, kernel, means, 1, 0);
  else code_matrix(s, (int32_t *)codes, rows, columns, kernel, means, 0, 0);
  return written(s, data);
}

size_t sepnet_write_kernels(sepnet_coder *s, uint8_t *data, size_t room, const uint8_t *bits, int32_t rows,
                            int32_t kernels, int32_t kernel) {
  start_writing(s, data, room);
  code_kernels(s, (uint8_t *)bits, rows, kernels, kernel, 0);
  return written(s, data);
}
#endif
