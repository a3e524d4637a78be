// Stand-ins with the signatures of androidx.work 2.10, which comes from Google's Maven repository alone.
@file:Suppress("UNUSED_PARAMETER")

package androidx.work

import android.content.Context

class WorkerParameters

abstract class ListenableWorker(val applicationContext: Context, parameters: WorkerParameters) {
    abstract class Result {
        companion object {
            fun success(): Result = Ended("success")

            fun retry(): Result = Ended("retry")

            fun failure(): Result = Ended("failure")
        }
    }

    private class Ended(private val how: String) : Result() {
        override fun toString() = how
    }
}

abstract class CoroutineWorker(appContext: Context, params: WorkerParameters) : ListenableWorker(appContext, params) {
    abstract suspend fun doWork(): Result
}
