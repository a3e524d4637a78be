package mnet.work

import android.content.Context
import androidx.work.CoroutineWorker
import androidx.work.WorkerParameters
import mnet.core.Busy
import mnet.core.Denied
import mnet.core.Offline
import mnet.core.Refused
import mnet.coroutines.SuspendingPhone

/**
 * Takes the weights that wait for the phone while no screen is in front; a subclass says which phone that is.
 *
 *     class FetchWeights(context: Context, parameters: WorkerParameters) : PollWorker(context, parameters) {
 *         override fun phone() = (applicationContext as MyApplication).suspendingPhone
 *     }
 *     val work = PeriodicWorkRequestBuilder<FetchWeights>(6, TimeUnit.HOURS)
 *         .setConstraints(Constraints(requiredNetworkType = NetworkType.UNMETERED)).build()
 *     WorkManager.getInstance(this).enqueueUniquePeriodicWork("weights", ExistingPeriodicWorkPolicy.KEEP, work)
 *
 * One question that is answered at once, no long poll. Without a network it is tried again, later each time; after a refusal or a
 * denial with the next period: the server has it in its books, and the running weights stay.
 */
public abstract class PollWorker(context: Context, parameters: WorkerParameters) : CoroutineWorker(context, parameters) {
    /** The app's one phone, enrolled; null where there is none yet. */
    protected abstract fun phone(): SuspendingPhone?

    final override suspend fun doWork(): Result {
        val phone = phone() ?: return Result.success()
        return try {
            phone.poll(waitSeconds = 0)
            Result.success()
        } catch (error: Busy) {
            Result.retry()
        } catch (error: Offline) {
            Result.retry()
        } catch (error: Denied) {
            Result.failure()
        } catch (error: Refused) {
            Result.failure()
        }
    }
}
