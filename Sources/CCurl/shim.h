#pragma once

#include <curl/curl.h>

// What Swift cannot import by itself: functions of any number of arguments.

static inline CURLcode curl_set_text(CURL *handle, CURLoption option, const char *value) {
  return curl_easy_setopt(handle, option, value);
}
static inline CURLcode curl_set_number(CURL *handle, CURLoption option, long value) { return curl_easy_setopt(handle, option, value); }
static inline CURLcode curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
  return curl_easy_setopt(handle, option, value);
}
static inline CURLcode curl_set_bytes(CURL *handle, const void *bytes, size_t count) {
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
  return curl_easy_setopt(handle, CURLOPT_COPYPOSTFIELDS, bytes);
}

/// Takes what comes; another count than it was given ends the transfer.
typedef size_t (*curl_taker)(char *bytes, size_t size, size_t count, void *owner);
static inline CURLcode curl_set_taker(CURL *handle, curl_taker take, void *owner) {
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, owner);
  return curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take);
}

static inline long curl_status(CURL *handle) {
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

/// Opens the socket of a connection, or refuses it with CURL_SOCKET_BAD.
typedef curl_socket_t (*curl_opener)(void *owner, curlsocktype purpose, struct curl_sockaddr *address);
static inline CURLcode curl_set_opener(CURL *handle, curl_opener open, void *owner) {
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, owner);
  return curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open);
}
static inline struct sockaddr *curl_address_of(struct curl_sockaddr *address) { return &address->addr; }
static const curl_socket_t curl_no_socket = CURL_SOCKET_BAD;
