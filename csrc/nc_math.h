/* What nc_math.inc needs once for each type: bits, constants, and the approximations.
 *
 * The approximations are minimax ones (the algorithm of Remez 1934, in 60 digits, relative to the function
 * that they end up in), so the errors given are of the formula, before rounding.
 */
#ifndef NC_MATH_H
#define NC_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t nc_word_f32;
typedef uint64_t nc_word_f64;

static inline nc_word_f32 nc_bits_f32(float x)
{
    nc_word_f32 word;
    memcpy(&word, &x, sizeof(word));
    return word;
}

static inline nc_word_f64 nc_bits_f64(double x)
{
    nc_word_f64 word;
    memcpy(&word, &x, sizeof(word));
    return word;
}

static inline float nc_from_bits_f32(nc_word_f32 word)
{
    float x;
    memcpy(&x, &word, sizeof(x));
    return x;
}

static inline double nc_from_bits_f64(nc_word_f64 word)
{
    double x;
    memcpy(&x, &word, sizeof(x));
    return x;
}

// libm's function of this type
#define NC_LIBM(name) _Generic((real)0, float: name##f, double: name)

// x y + z, rounded once where that costs nothing; clang does not say so by the standard's name
#if defined(FP_FAST_FMA) || defined(__FMA__)
#define NC_HAS_FMA
#define NC_FMA(x, y, z) NC_LIBM(fma)(x, y, z)
#else
#define NC_FMA(x, y, z) ((x) * (y) + (z))
#endif

// ---- layout: sign, exponent, fraction
#define NC_SHIFT_f32 23
#define NC_SHIFT_f64 52
#define NC_BIAS_f32 127
#define NC_BIAS_f64 1023
#define NC_SIGN_f32 0x80000000u
#define NC_SIGN_f64 0x8000000000000000u
#define NC_LEAST_NORMAL_f32 0x1p-126f
#define NC_LEAST_NORMAL_f64 0x1p-1022
#define NC_INF_BITS_f32 0x7f800000u
#define NC_INF_BITS_f64 0x7ff0000000000000u
// sqrt(1/2), rounded down: significands are taken from here up to sqrt(2)
#define NC_SQRT_HALF_BITS_f32 0x3f3504f3u
#define NC_SQRT_HALF_BITS_f64 0x3fe6a09e667f3bccu
// x + ROUND - ROUND is x rounded to an integer, whose low bits are then the last bits of x + ROUND
#define NC_ROUND_f32 0x1.8p23f
#define NC_ROUND_f64 0x1.8p52
// ORed with an integer below 2^SHIFT this is its bits as a real, plus this number
#define NC_INTEGER_f32 0x1p23f
#define NC_INTEGER_f64 0x1p52

// ---- constants; ln 2 and pi are sums, whose leading parts have zeros enough at their end that products
// with the multiples that occur are exact (Cody and Waite 1980)
#define NC_LOG2E_f32 0x1.715476p+0f
#define NC_LOG2E_f64 0x1.71547652b82fep+0
#define NC_LN2_f32 0x1.62e43p-1f
#define NC_LN2_f64 0x1.62e42fefa39efp-1
#define NC_LN2_HIGH_f32 0x1.62e4p-1f
#define NC_LN2_HIGH_f64 0x1.62e42fefap-1
#define NC_LN2_LOW_f32 0x1.7f7d1cp-20f
#define NC_LN2_LOW_f64 0x1.cf79abc9e3b3ap-40
#define NC_LOG10_2_f32 0x1.344136p-2f
#define NC_LOG10_2_f64 0x1.34413509f79ffp-2
#define NC_LOG10E_f32 0x1.bcb7b2p-2f
#define NC_LOG10E_f64 0x1.bcb7b1526e50ep-2
#define NC_ONE_OVER_PI_f32 0x1.45f306p-2f
#define NC_ONE_OVER_PI_f64 0x1.45f306dc9c883p-2

// ---- where the plain formulas hold
#define NC_EXP_EASY_f32 87.0f  // |x| below this: exp(x) and exp(-x) are normal numbers
#define NC_EXP_EASY_f64 708.0
#define NC_EXP_LEAST_f32 -105.0f  // exp is 0 below
#define NC_EXP_LEAST_f64 -746.0
#define NC_EXP_MOST_f32 89.0f  // exp is infinite above
#define NC_EXP_MOST_f64 710.0
#define NC_SIGMOID_EASY_f32 80.0f  // and Q exp(x), Q from nc_exp_q, does not overflow
#define NC_SIGMOID_EASY_f64 700.0
#define NC_EXP2_EASY_f32 126.0f
#define NC_EXP2_EASY_f64 1022.0
#define NC_EXP2_LEAST_f32 -151.0f
#define NC_EXP2_LEAST_f64 -1076.0
#define NC_EXP2_MOST_f32 129.0f
#define NC_EXP2_MOST_f64 1025.0
#define NC_EXPM1_LEAST_f32 -20.0f  // expm1 is -1 below
#define NC_EXPM1_LEAST_f64 -40.0
#define NC_TANH_MOST_f32 10.0f  // tanh is 1 above
#define NC_TANH_MOST_f64 20.0
#define NC_SIN_EASY_f32 1e5f  // |x| up to this: the multiple of pi has 16 bits
#define NC_SIN_EASY_f64 1e5
#define NC_POWER_EASY 0x1p51  // |y| below this: its last bits are those of an integer, if it is one

// ---- tanh(r / 2) = r P(r r) / Q(r r) for |r| <= ln(2) / 2: 2^-30.8, 2^-57.5. Pade's form, one polynomial
// monic: for float P, as the sums then round to numbers little below a power of two, relatively better
static inline float nc_exp_p_f32(float z) { return z + 60.077236f; }
static inline float nc_exp_q_f32(float z) { return 12.012863f * z + 120.15447f; }
static inline double nc_exp_p_f64(double z)
{
    return (0x1.10f146242c0bcp-5 * z + 0x1.c016603ff0825p+3) * z + 0x1.f8272922e264cp+8;
}
static inline double nc_exp_q_f64(double z) { return (z + 112.03095812461231) * z + 1008.3059428792417; }

// ---- tanh(h) = h P(h h) / Q(h h) for |h| <= ln(2) / 4: the same, scaled by powers of two
static inline float nc_tanh_p_f32(float z) { return z + 15.019309f; }
static inline float nc_tanh_q_f32(float z) { return 6.0064316f * z + 15.019309f; }
static inline double nc_tanh_p_f64(double z)
{
    return (0x1.10f146242c0bcp-4 * z + 0x1.c016603ff0825p+2) * z + 0x1.f8272922e264cp+5;
}
static inline double nc_tanh_q_f64(double z) { return (z + 28.007739531153078) * z + 0x1.f8272922e264cp+5; }

// ---- tanh(r ln(2) / 2) = r P(r r) / Q(r r) for |r| <= 1/2: 2^-30.8, 2^-57.5
static inline float nc_exp2_p_f32(float z) { return z + 125.04279f; }
static inline float nc_exp2_q_f32(float z) { return 17.330887f * z + 360.79724f; }
static inline double nc_exp2_p_f64(double z)
{
    return (0x1.7a60f3bdd2d68p-6 * z + 0x1.433a091d69ae4p+4) * z + 0x1.7a77131991f33p+10;
}
static inline double nc_exp2_q_f64(double z) { return (z + 233.17772253057382) * z + 4368.078189516453; }

// ---- log(1 + f) = s (2 + z P(z)) for s = f / (2 + f), z = s s, 1 + f from sqrt(1/2) to sqrt(2): 2^-30.2,
// 2^-59.5
static inline float nc_log_p_f32(float z)
{
    float sum = 0.2987160086631775f;
    sum = sum * z + 0.39977550506591797f;
    sum = sum * z + 0.6666677594184875f;
    return sum;
}
static inline double nc_log_p_f64(double z)
{
    double sum = 0x1.2f06ff6296485p-3;
    sum = sum * z + 0x1.39a19882c812cp-3;
    sum = sum * z + 0x1.74663ff6361c7p-3;
    sum = sum * z + 0x1.c71c5205a0792p-3;
    sum = sum * z + 0x1.24924941f3e8fp-2;
    sum = sum * z + 0x1.999999997fda9p-2;
    sum = sum * z + 0x1.5555555555592p-1;
    return sum;
}

// ---- log(1 + f) = 2 s (1 + z / 3 + z z P(z)) for the same s and z: 2^-66.3
static inline double nc_log_long_p_f64(double z)
{
    double sum = 0x1.0e462b6e83d76p-4;
    sum = sum * z + 0x1.0f7f8c335a5efp-4;
    sum = sum * z + 0x1.3b1eefea728dfp-4;
    sum = sum * z + 0x1.745ce9cea6856p-4;
    sum = sum * z + 0x1.c71c722da06bep-4;
    sum = sum * z + 0x1.2492492457ae2p-3;
    sum = sum * z + 0x1.9999999999b31p-3;
    return sum;
}

// ---- sin(r) = r + r z P(z) for z = r r, |r| <= pi / 2: 2^-27.3, 2^-61.6. The second number of f32 is one
// ulp off the best, for the sake of cos(0) = 1
static inline float nc_sin_p_f32(float z)
{
    float sum = 2.6057209652208257e-06f;
    sum = sum * z - 0.00019809577497653663f;
    sum = sum * z + 0.0083330665f;
    sum = sum * z - 0.16666659712791443f;
    return sum;
}
static inline double nc_sin_p_f64(double z)
{
    double sum = 0x1.88284a8c56505p-49;
    sum = sum * z - 0x1.ae43110ec6266p-41;
    sum = sum * z + 0x1.6123caf9c50eep-33;
    sum = sum * z - 0x1.ae6454ca9f189p-26;
    sum = sum * z + 0x1.71de3a52863d4p-19;
    sum = sum * z - 0x1.a01a01a014884p-13;
    sum = sum * z + 0x1.11111111110c1p-7;
    sum = sum * z - 0x1.5555555555555p-3;
    return sum;
}
// pi as a sum: the first two parts of f64 have 37 bits; those of f32 have 24, for fma. All positive, so
// that a reduction by 0 times pi leaves -0 as it is
#define NC_PI_1_f64 0x1.921fb5444p+1
#define NC_PI_2_f64 0x1.68c234c4cp-38
#define NC_PI_3_f64 0x1.98a2e03707345p-76
#define NC_PI_1_f32 0x1.921fb4p+1f
#define NC_PI_2_f32 0x1.4442dp-23f
#define NC_PI_3_f32 0x1.846988p-47f
#define NC_THIRD_HIGH 0x1.5555555555555p-2
#define NC_THIRD_LOW 0x1.5555555555555p-56

#endif
