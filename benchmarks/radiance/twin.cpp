// The march kernel of nerf_plugin/kernels/march.py once more, as a C++ programmer would write it for speed: the same
// model, data layout and order of work (chunks of 4 to 16 alive samples: addresses and prefetches, rows, activations
// sixteen at a time, compositing; backward from the kept samples). What is here and there called the same is the same;
// the mathematics is explained there. Vectors are GCC's own, so -march=native decides what they become.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef float Vec __attribute__((vector_size(64)));
typedef int32_t Int __attribute__((vector_size(64)));
typedef float Four __attribute__((vector_size(16)));

namespace {

const int kept = 1024;

struct Samples {
    float raw[4 * kept + 64], transmitted[kept + 16], slope[kept + 16], red[kept + 16], green[kept + 16],
        blue[kept + 16], weight[kept], after[kept], where[kept], corner_weight[8 * kept], gradient[4 * kept],
        curve[kept];
    int32_t corner[8 * kept];
} s;

inline Vec load(const float* p) { Vec v; std::memcpy(&v, p, 64); return v; }

// Sixteen halves, widened.
inline Vec widen(const uint16_t* p) {
#ifdef __AVX512F__
    return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#else
    typedef _Float16 Halves __attribute__((vector_size(32)));
    Halves h;
    std::memcpy(&h, p, 32);
    return __builtin_convertvector(h, Vec);
#endif
}

inline void store(float* p, Vec v) { std::memcpy(p, &v, 64); }
inline Vec all(float x) { return Vec{} + x; }
inline Vec repeat(const float* p) {
    return Vec{p[0], p[1], p[2], p[3], p[0], p[1], p[2], p[3], p[0], p[1], p[2], p[3], p[0], p[1], p[2], p[3]};
}

// Cephes' expf and logf without branches.
inline Vec exponential(Vec x) {
    x = x > 88.0f ? all(88.0f) : x;
    x = x < -87.0f ? all(-87.0f) : x;
    Vec n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // rounded to the nearest whole number
    Vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vec p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    Vec y = p * (r * r) + r + 1.0f;
    return y * (Vec)((__builtin_convertvector(n, Int) + 127) << 23);
}

inline Vec logarithm(Vec x) {
    Int bits = (Int)x;
    Vec e = __builtin_convertvector((bits >> 23) - 126, Vec);
    Vec m = (Vec)((bits & 0x007FFFFF) | 0x3F000000);
    auto small = m < 0.707106781f;
    e = small ? e - 1.0f : e;
    m = (small ? m + m : m) - 1.0f;
    Vec z = m * m;
    Vec p = all(7.0376836292e-2f);
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    return m + (m * z * p - e * 2.12194440e-4f - z * 0.5f) + e * 0.693359375f;
}

inline uint32_t hash(uint32_t x) {
    x ^= x >> 16, x *= 0x7FEB352Du, x ^= x >> 15, x *= 0x846CA68Bu, x ^= x >> 16;
    return x;
}

inline int bit_of(int x, int y, int z) { return (x & 3) << 4 | (y & 3) << 2 | (z & 3); }

}  // namespace

struct Grid {
    const int32_t* table;
    const int64_t* bricks;
    const int32_t* first;
    const uint64_t* present;
    const uint64_t* occupied;
    const float* box;
};

struct Figures {
    double loss;
    int64_t alive, steps;
};

extern "C" void march(const uint16_t* rows, float* grads, uint64_t* touched, const Grid* grid, const float* rays,
                      const float* target, const float* back, int count, int seed, float step, float scale,
                      float shift, float lambda_a, float lambda_p, float lambda_d, float stop, int train, float* out,
                      Figures* figures) {
    const Grid g = *grid;
    const int64_t s1 = g.bricks[2] + 1, s0 = s1 * (g.bricks[1] + 1);
    const float per_step = 1.0f / step;
    const Vec one = all(1.0f);
    Vec lane_weight = {}, lane_touch = {}, lane_curve = {};
    lane_weight[4] = 1.0f;
    lane_touch[8] = 1.0f;
    lane_curve[12] = 1.0f;
    double loss = 0;
    int64_t alive = 0, steps = 0;
    int guess = 16;
    for (int ray = 0; ray < count; ray++) {
        const float *o = rays + ray * 6, *d = o + 3, *wanted = target + ray * 4, *behind_grid = back + ray * 3;
        float inverse[3], near = 0, far = 1e30f;
        for (int a = 0; a < 3; a++) {
            inverse[a] = d[a] != 0 ? 1.0f / d[a] : 1e30f;
            float x = (g.box[a] - o[a]) * inverse[a], y = (g.box[a + 3] - o[a]) * inverse[a];
            near = std::max(near, std::min(x, y));
            far = std::min(far, std::max(x, y));
        }
        const float y0 = 0.28209479f, y1 = 0.48860251f, x1 = y1 * d[0], x2 = y1 * d[1], x3 = y1 * d[2];
        const Vec basis = {1, y0, y0, y0, 0, x1, x1, x1, 0, x2, x2, x2, 0, x3, x3, x3};
        const float jitter = (hash((uint32_t)seed + hash(ray)) >> 8) * 5.9604645e-08f;
        const int last = far > near ? (int)((far - near) * per_step - jitter) : 0;
        float through = 1, red = 0, green = 0, blue = 0, depth = 0, mean_t = 0;
        int n = 0, k = 0;
        bool done = false;
        int room = guess;
        while (!done && k < last && n <= kept - 16) {
            const int chunk = n;
            while (k < last && n < chunk + room) {
                steps++;
                const float t = near + (k + jitter) * step, x = o[0] + t * d[0], y = o[1] + t * d[1],
                            z = o[2] + t * d[2];
                const int cx = x, cy = y, cz = z, bx = cx >> 2, by = cy >> 2, bz = cz >> 2;
                const int brick = g.table[bx * s0 + by * s1 + bz];
                if (brick < 0) {
                    float a = ((d[0] > 0 ? (bx - brick) * 4 : (bx + brick + 1) * 4) - x) * inverse[0];
                    float b = ((d[1] > 0 ? (by - brick) * 4 : (by + brick + 1) * 4) - y) * inverse[1];
                    float c = ((d[2] > 0 ? (bz - brick) * 4 : (bz + brick + 1) * 4) - z) * inverse[2];
                    k += std::max(1, (int)(std::min(a, std::min(b, c)) * per_step) + 1);
                    continue;
                }
                k++;
                if (!(g.occupied[brick] >> bit_of(cx, cy, cz) & 1)) continue;
                const float fx = std::max(x - cx, 1e-6f), fy = std::max(y - cy, 1e-6f), fz = std::max(z - cz, 1e-6f);
                const float gx = 1 - fx, gy = 1 - fy, gz = 1 - fz;
                float* w = s.corner_weight + n * 8;
                w[0] = gx * gy * gz, w[1] = gx * gy * fz, w[2] = gx * fy * gz, w[3] = gx * fy * fz;
                w[4] = fx * gy * gz, w[5] = fx * gy * fz, w[6] = fx * fy * gz, w[7] = fx * fy * fz;
                s.where[n] = t;
                for (int c = 0; c < 8; c++) {
                    const int jx = cx + (c >> 2), jy = cy + (c >> 1 & 1), jz = cz + (c & 1);
                    const int other = g.table[(jx >> 2) * s0 + (jy >> 2) * s1 + (jz >> 2)];
                    const uint64_t before = g.present[other] & ((1ull << bit_of(jx, jy, jz)) - 1);
                    const int64_t row = g.first[other] + __builtin_popcountll(before);
                    s.corner[n * 8 + c] = row;
                    __builtin_prefetch(rows + row * 16);
                    if (train) {
                        touched[other] |= 1ull << (row - g.first[other]);
                        __builtin_prefetch(grads + row * 16);
                    }
                }
                n++;
            }
            if (n == chunk) break;
            room = 4;
            for (int j = chunk; j < n; j++) {
                const int32_t* at = s.corner + j * 8;
                const float* w = s.corner_weight + j * 8;
                Vec even = widen(rows + at[0] * 16l) * w[0], odd = widen(rows + at[1] * 16l) * w[1];
                for (int c = 2; c < 8; c += 2) {
                    even += widen(rows + at[c] * 16l) * w[c];
                    odd += widen(rows + at[c + 1] * 16l) * w[c + 1];
                }
                const Vec sum = (even + odd) * basis;
                Four part[4];
                std::memcpy(part, &sum, 64);
                const Four folded = (part[0] + part[1]) + (part[2] + part[3]);
                std::memcpy(s.raw + j * 4, &folded, 16);
            }
            Vec lane[4] = {};
            for (int i = 0; i < 16; i++)
                for (int c = 0; c < 4; c++) lane[c][i] = s.raw[(chunk + i) * 4 + c];
            Vec x = lane[0] + shift;
            const Vec grown = exponential(x > 40.0f ? all(40.0f) : x), more = grown + one;
            store(s.slope + chunk, grown / more * scale);
            store(s.transmitted + chunk, exponential(-(logarithm(more) * scale)));
            store(s.red + chunk, one / (one + exponential(-lane[1])));
            store(s.green + chunk, one / (one + exponential(-lane[2])));
            store(s.blue + chunk, one / (one + exponential(-lane[3])));
            for (int j = chunk; j < n; j++) {
                const float weight = through * (1 - s.transmitted[j]);
                s.weight[j] = weight;
                red += weight * s.red[j], green += weight * s.green[j], blue += weight * s.blue[j];
                mean_t += weight * s.where[j];
                through *= s.transmitted[j];
                s.after[j] = through;
                if (depth == 0 && through < 0.5f) depth = s.where[j];
                if (through < stop) {
                    n = j + 1;
                    done = true;
                    break;
                }
            }
        }
        alive += n;
        guess = std::min(16, std::max(4, n + 1));
        const float opacity = 1 - through;
        red += through * behind_grid[0], green += through * behind_grid[1], blue += through * behind_grid[2];
        float* o5 = out + ray * 5;
        o5[0] = red, o5[1] = green, o5[2] = blue, o5[3] = opacity, o5[4] = depth;
        if (!train) continue;
        const float clear = 1 - wanted[3];
        const float e0 = red - wanted[0] - clear * behind_grid[0], e1 = green - wanted[1] - clear * behind_grid[1],
                    e2 = blue - wanted[2] - clear * behind_grid[2];
        loss += e0 * e0 + e1 * e1 + e2 * e2;
        const float ea = lambda_a * (opacity - wanted[3]), own = clear < 0.01f ? lambda_p : 0;
        float behind = through * (e0 * behind_grid[0] + e1 * behind_grid[1] + e2 * behind_grid[2]);
        float front_w = opacity, front_wt = mean_t, rear_w = 0, rear_wt = 0;
        float h0 = through * behind_grid[0], h1 = through * behind_grid[1], h2 = through * behind_grid[2], moves = 0;
        const float clearing = lambda_a * through * through;
        for (int j = n - 1; j >= 0; j--) {
            const float c0 = s.red[j], c1 = s.green[j], c2 = s.blue[j], weight = s.weight[j], t = s.where[j];
            front_w -= weight, front_wt -= weight * t;
            const float spread = t * (front_w - rear_w) - front_wt + rear_wt + step / 3 * weight;
            rear_w += weight, rear_wt += weight * t;
            const float value = c0 * e0 + c1 * e1 + c2 * e2 + ea + 2 * lambda_d * spread;
            float* to = s.gradient + j * 4;
            to[0] = (s.after[j] * value - behind) * s.slope[j];
            behind += weight * value;
            const float m0 = s.after[j] * c0 - h0, m1 = s.after[j] * c1 - h1, m2 = s.after[j] * c2 - h2;
            h0 += weight * c0, h1 += weight * c1, h2 += weight * c2;
            s.curve[j] = std::sqrt(m0 * m0 + m1 * m1 + m2 * m2 + clearing) * s.slope[j];
            moves += s.curve[j];
            to[1] = weight * (e0 + own * (c0 - wanted[0])) * c0 * (1 - c0);
            to[2] = weight * (e1 + own * (c1 - wanted[1])) * c1 * (1 - c1);
            to[3] = weight * (e2 + own * (c2 - wanted[2])) * c2 * (1 - c2);
        }
        for (int j = 0; j < n; j++) {
            const Vec grad = lane_curve * (s.curve[j] * moves) +
                             (lane_weight * s.weight[j] + (repeat(s.gradient + j * 4) * basis + lane_touch));
            for (int c = 0; c < 8; c++) {
                float* to = grads + s.corner[j * 8 + c] * 16l;
                store(to, load(to) + grad * s.corner_weight[j * 8 + c]);
            }
        }
    }
    *figures = {loss, alive, steps};
}
