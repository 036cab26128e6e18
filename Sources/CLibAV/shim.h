#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/avutil.h>
#include <libavutil/cpu.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdio.h>

// What Swift cannot import by itself (function-like macros), and what differs between FFmpeg 5 and FFmpeg 8.

static const int64_t lav_no_timestamp = AV_NOPTS_VALUE;
static const int lav_error_end = AVERROR_EOF;
static const int lav_error_exit = AVERROR_EXIT;
static const int lav_error_again = AVERROR(EAGAIN);

/// Decoders that take threads for several frames at a time, by libav's own ways or their library's.
static const int lav_frame_threads = AV_CODEC_CAP_FRAME_THREADS | AV_CODEC_CAP_OTHER_THREADS;

static const int lav_format_major = LIBAVFORMAT_VERSION_MAJOR;

/// Makes cameras known, by a library that is not there on every machine: its version is that of libavformat. Zero, or -1 without it.
static inline int lav_register_devices(void) {
  char name[40];
  snprintf(name, sizeof name, "libavdevice.so.%d", LIBAVFORMAT_VERSION_MAJOR);
  void *library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  void (*register_all)(void) = library ? (void (*)(void))dlsym(library, "avdevice_register_all") : NULL;
  if (!register_all) return -1;
  register_all();
  return 0;
}

static inline int lav_error_of_errno(int code) { return AVERROR(code); }

/// Whether the file is of the MP4 family.
static inline int lav_is_mov(const AVFormatContext *format) { return av_match_name("mov", format->iformat->name); }

/// The stream's display matrix, nine numbers, or NULL.
static inline const int32_t *lav_display_matrix(const AVStream *stream) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
  const AVPacketSideData *data = av_packet_side_data_get(
      stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return data && data->size >= 36 ? (const int32_t *)data->data : NULL;
#else
  size_t size = 0;
  const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return data && size >= 36 ? (const int32_t *)data : NULL;
#endif
}

// SwsContext is opaque in FFmpeg 5 and a public struct in FFmpeg 8, which Swift would see as two types.

// The flags' type differs as well.

/// The way of video readers: fastest, chroma is repeated.
static const int lav_convert_fast = SWS_BILINEAR;
/// Chroma is repeated, nothing is rounded early.
static const int lav_convert_exact = SWS_POINT | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;
/// The way of image libraries: chroma is interpolated.
static const int lav_convert_smooth = SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;

/// A converter of pictures of one size and format, without scaling. `matrix`: the AVColorSpace of a YUV source.
static inline void *lav_converter_open(int width, int height, int from, int to, int flags, int matrix, int full_range) {
  struct SwsContext *context = sws_getContext(
      width, height, (enum AVPixelFormat)from, width, height, (enum AVPixelFormat)to, flags, NULL, NULL, NULL);
  if (!context) return NULL;
  // Fails for sources without a matrix (RGB), which need none.
  sws_setColorspaceDetails(
      context, sws_getCoefficients(matrix), full_range, sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
  return context;
}

/// Writes the whole picture to `target`, `stride` bytes a row. Returns the number of rows, or a negative error.
static inline int lav_converter_run(void *context, const AVFrame *source, uint8_t *target, int stride) {
  uint8_t *planes[4] = {target, NULL, NULL, NULL};
  int strides[4] = {stride, 0, 0, 0};
  return sws_scale(
      (struct SwsContext *)context, (const uint8_t *const *)source->data, source->linesize, 0, source->height, planes, strides);
}

static inline void lav_converter_close(void *context) { sws_freeContext((struct SwsContext *)context); }
